"""AsyncRabbitMQPublisher: persistent messages, confirmed, and an error if they went nowhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.queue.errors import UnroutableError
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
        self._looking: asyncio.TimerHandle | None = None

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
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        await self._channel.close()

    @property
    def state(self) -> PublisherState:
        if not self._channel.is_open:
            return "down"
        return "blocked" if self._channel.is_blocked else "ready"

    async def send(self, queue: str, message: Message) -> None:
        if self._looking is None:
            self._look_later()
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

    def _look(self) -> None:
        """RabbitMQ says that it is short of memory when the first message comes, and keeps that one for later."""
        self._looking = None
        if self._channel.is_blocked:
            self.limit.expire()
        elif self.limit:
            self._look_later()

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)

    async def _ensure_queue(self) -> None:
        specs = [publishing_spec(self.config, self.queue_name)]
        await ensure(self._channel.connection, specs, declare=self.config.declare)
