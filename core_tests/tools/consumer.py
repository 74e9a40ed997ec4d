"""Consumers without a service around them, and what becomes of them and of a publisher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from app.queue.config import QueueConfig
from app.queue.errors import BrokerRefusedError, PublishError
from app.queue.interfaces import Delivery, QueueConsumer, QueueProcessor
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_dead_letters, get_processor, get_publisher
from core_tests.tools.example import audio
from core_tests.tools.waiting import eventually


class Instance:
    """A consumer that acks what it gets, or keeps it."""

    def __init__(self, config: QueueConfig, *, acks: bool = True) -> None:
        self.got: list[Delivery] = []
        self.consumer: QueueConsumer = get_consumer(config, MessageProcessor())
        self.consumer.on_delivery = self._take
        self.processor: QueueProcessor = get_processor(config)
        self._acks = acks

    async def _take(self, delivery: Delivery) -> None:
        self.got.append(delivery)
        if self._acks:
            await self.processor.ack(delivery)

    async def settle(self) -> None:
        """Ack what was kept."""
        await asyncio.gather(*(self.processor.ack(delivery) for delivery in list(self.got)))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Instance]:
        await self.consumer.open()
        try:
            yield self
        finally:
            await self.consumer.close()
            await self.processor.close()


async def publish(config: QueueConfig, count: int) -> None:
    publisher = get_publisher(config)
    await asyncio.gather(*(publisher.publish_message(config.name, audio(number)) for number in range(count)))
    await publisher.close()


def ids(deliveries: list[Delivery]) -> list[str]:
    return sorted(delivery.message.message_id for delivery in deliveries)


async def ignore(_: object) -> None:
    """Take a delivery, and do nothing."""


async def open_and_close(config: QueueConfig) -> None:
    """Open a consumer, which sees to it that the queue and its places exist."""
    consumer = get_consumer(config, MessageProcessor())
    consumer.on_delivery = ignore
    try:
        await consumer.open()
    finally:
        await consumer.close()


async def refuse(config: QueueConfig, said: str, published: str) -> None:
    """A consumer and a publisher of the queue are refused, in these words."""
    with pytest.raises(BrokerRefusedError, match=said):
        await open_and_close(config)
    publisher = get_publisher(config)
    with pytest.raises(PublishError, match=published):
        await publisher.publish_message(config.name, audio())
    await publisher.close()


async def dead_lettered(config: QueueConfig, count: int) -> None:
    """Return when so many messages lie in the dead-letter queue."""
    dead_letters = get_dead_letters(config)

    async def there() -> bool:
        return await dead_letters.depth() == count

    try:
        await eventually(there, f"{count} are in the DLQ")
    finally:
        await dead_letters.close()
