"""NatsConsumer: asks for messages, `prefetch` in hand at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import Place, QueueConsumer
from app.queue.processor import MessageProcessor
from app.queue.providers.nats.delayed import Delayed
from app.queue.providers.nats.link import NatsLink
from app.queue.providers.nats.messages import handed_over_as, to_message
from app.queue.providers.nats.pull import Pull, Token, to_delivery
from app.queue.providers.nats.put import put
from app.queue.providers.nats.streams import ensure_consumer, ensure_stream, stream_name, subject, subjects

if TYPE_CHECKING:
    from app.queue.providers.nats.config import NatsQueueConfig


class NatsConsumer(QueueConsumer):
    """Makes the queue and its places, receives from the first, and moves what has waited long enough back to it."""

    config: NatsQueueConfig

    def __init__(self, queue_name: str, config: NatsQueueConfig, dispatcher: MessageProcessor) -> None:
        super().__init__(queue_name, config, dispatcher)
        self._link = NatsLink(config)
        self._pull: Pull | None = None
        self._delayed: Delayed | None = None
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        if self._link.is_open and self._pull is not None:
            return
        await self._link.open()
        try:
            connection = self._link.connection
            for its_subject in subjects(self.config):
                await ensure_stream(connection, self.config, its_subject)
            for its_subject in (self.queue_name, subject(self.queue_name, Place.RETRY)):
                await ensure_consumer(connection, self.config, its_subject)
            stream, lose = stream_name(self.queue_name), self._link.lose
            self._pull = Pull(connection, stream, self.config.prefetch, self.config.ack_wait, self._on_message, lose)
            self._delayed = Delayed(connection, self.config, lose)
            await self._delayed.start()
            await self._pull.start()
        except BaseException:
            await self.close()
            raise

    async def lost(self) -> str:
        return await self._link.lost()

    async def close(self) -> None:
        delayed, self._delayed = self._delayed, None
        pull, self._pull = self._pull, None
        if pull is not None and delayed is not None:
            await asyncio.gather(pull.ended(), delayed.close())
            if self._returning:
                await asyncio.wait(self._returning)
            await pull.close()
        await self._link.close()

    async def start_intake(self) -> None:
        if self._pull is None:
            raise BrokerUnavailableError("not connected to the broker")
        await self._pull.start()

    async def stop_intake(self) -> None:
        if self._pull is not None:
            self._pull.stop()
            await asyncio.sleep(0)  # what came last begins, and is in hand

    @property
    def registered(self) -> bool:
        return self._pull is not None and self._pull.asks and self._link.is_open

    def _on_message(self, token: Token) -> None:
        assert self.on_delivery is not None
        if self.registered:
            delivery = to_delivery(self.queue_name, token)
            asyncio.get_running_loop().create_task(self.on_delivery(delivery))
        else:
            task = asyncio.get_running_loop().create_task(self._return(token))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _return(self, token: Token) -> None:
        """What was asked for before the intake stopped goes to the tail: put back, it would look like a dead one's."""
        message, _ = to_message(token.received)
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await put(token.pull.connection, self.queue_name, message, handed_over_as(token.received), fit=True)
                await token.ack()
        except (BrokerError, TimeoutError):
            await token.put_back()
