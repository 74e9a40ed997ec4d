"""AsyncRabbitMQPublisher: persistent messages, confirmed, and an error if they went nowhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.queue.errors import PublisherBlockedError, UnroutableError
from app.queue.interfaces import Message, PublisherState
from app.queue.middleware import PublishMiddleware
from app.queue.providers.rabbitmq.channel import PublishChannel
from app.queue.providers.rabbitmq.topology import ensure, publishing_spec
from app.queue.publisher import GuardedPublisher

if TYPE_CHECKING:
    from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig

DELETION_GRACE = 0.5
LOOK_EVERY = 0.2
"""Seconds between looks if the broker has blocked the connection: the library tells only who asks."""


class AsyncRabbitMQPublisher(GuardedPublisher):
    """Publishes through the default exchange, so a routing key is a queue's name."""

    config: RabbitMQQueueConfig

    def __init__(
        self, queue_name: str, config: RabbitMQQueueConfig, middleware: tuple[PublishMiddleware, ...] = ()
    ) -> None:
        super().__init__(queue_name, config, middleware)
        self._channel = PublishChannel(config)

    async def open(self) -> None:
        if self._channel.is_open:
            return
        await self._channel.open()
        try:
            await self._ensure_queue()
        except BaseException:
            await self._channel.close()
            raise
        self.breaker.reset()

    async def lost(self) -> str:
        return await self._channel.lost()

    async def close(self) -> None:
        await self._channel.close()

    @property
    def state(self) -> PublisherState:
        if not self._channel.is_open:
            return "down"
        return "blocked" if self._channel.is_blocked else "ready"

    async def send(self, queue: str, message: Message) -> None:
        loop = asyncio.get_running_loop()
        looking: asyncio.TimerHandle

        def look() -> None:
            nonlocal looking
            if self._channel.is_blocked:
                patience.reschedule(loop.time())
            else:
                looking = loop.call_later(LOOK_EVERY, look)

        looking = loop.call_later(LOOK_EVERY, look)
        try:
            async with asyncio.timeout(None) as patience:
                await self._send(queue, message)
        except TimeoutError:
            # RabbitMQ says that it is short of memory when the first message comes, and keeps that for later.
            raise PublisherBlockedError(
                "the broker accepts no messages for now (memory or disk alarm); it had not confirmed",
                may_have_landed=True,
            ) from None
        finally:
            looking.cancel()

    async def _send(self, queue: str, message: Message) -> None:
        try:
            await self._channel.put(queue, message)
        except UnroutableError:
            if queue != self.queue_name:
                raise
            # Somebody deleted it. RabbitMQ 3 does not tell a quorum queue's consumers so if a queue of the same name is
            # made before they could be told (some 50 ms, measured on 3.10): they would wait until they are renewed.
            await asyncio.sleep(DELETION_GRACE)
            await self._ensure_queue()
            await self._channel.put(queue, message)

    async def _ensure_queue(self) -> None:
        specs = [publishing_spec(self.config, self.queue_name)]
        await ensure(self._channel.connection, specs, declare=self.config.declare)
