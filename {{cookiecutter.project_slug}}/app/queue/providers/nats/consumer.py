"""NatsConsumer: asks for messages, `prefetch` in hand at most."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.queue.errors import BrokerUnavailableError
from app.queue.interfaces import Delivery, Place, QueueConsumer
from app.queue.processor import MessageProcessor
from app.queue.providers.nats.delayed import Delayed
from app.queue.providers.nats.link import NatsLink
from app.queue.providers.nats.messages import to_message
from app.queue.providers.nats.pull import Pull, Token
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
        self._changing = asyncio.Lock()

    async def open(self) -> None:
        if self._link.is_open and self._pull is not None:
            return
        await self._link.open()
        try:
            connection = self._link.connection
            for its_subject in subjects(self.config):
                await ensure_stream(connection, self.config, its_subject)
            retries = subject(self.queue_name, Place.RETRY)
            for its_subject in (self.queue_name, retries):
                await ensure_consumer(connection, self.config, its_subject)
            stream = stream_name(self.queue_name)
            pull_limits = self.config.prefetch, self.config.ack_wait
            self._pull = Pull(connection, stream, *pull_limits, self._on_message, self._link.lose)
            self._delayed = Delayed(connection, self.config, self._link.lose)
            await self._delayed.start()
            await self.start_intake()
        except BaseException:
            await self.close()
            raise

    async def lost(self) -> str:
        return await self._link.lost()

    async def close(self) -> None:
        delayed, self._delayed = self._delayed, None
        pull, self._pull = self._pull, None
        if delayed is not None:
            await delayed.close()
        if pull is not None:
            await pull.close()
        await self._link.close()

    async def start_intake(self) -> None:
        async with self._changing:
            if self._pull is None:
                raise BrokerUnavailableError("not connected to the broker")
            await self._pull.start()

    async def stop_intake(self) -> None:
        async with self._changing:
            if self._pull is not None:
                await self._pull.stop()

    @property
    def registered(self) -> bool:
        return self._pull is not None and self._pull.asks and self._link.is_open

    def _on_message(self, token: Token) -> None:
        assert self.on_delivery is not None
        message, identity = to_message(token.received)
        redelivered = token.received.metadata.num_delivered > 1
        delivery = Delivery(self.queue_name, message, redelivered, token, identity)
        asyncio.get_running_loop().create_task(self.on_delivery(delivery))
