"""The provider under test, with a queue of the test's own, seen through the interfaces and through nothing else."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.queue.config import QueueConfig
from app.queue.errors import PublishError
from app.queue.interfaces import Delivery, Message, Place, QueueConsumer, QueueProcessor, QueuePublisher
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_dead_letters, get_processor, get_publisher
from tests.contract.claims import Claim, Claims
from tests.tools.broker_node import BrokerNode
from tests.tools.example import queue_config
from tests.tools.waiting import eventually

BODY = {"type": "send_audio", "user_id": 123, "content": "audio_data"}


class Subject:
    """Makes the parts of one queue at one broker. `node` is there only if the broker may be killed."""

    def __init__(self, claims: Claims, url: str, node: BrokerNode | None = None) -> None:
        self.claims = claims
        self.url = url
        self.name = f"contract_{uuid.uuid4().hex[:12]}"
        self._node = node
        self._made: dict[tuple[float, ...], QueueConfig] = {}
        """A configuration for each set of delays: the places where retries wait are named after them."""

    @property
    def node(self) -> BrokerNode:
        """The private server."""
        assert self._node is not None
        return self._node

    def needs(self, claim: Claim) -> None:
        """Skip the test if the provider does not make this claim."""
        if claim in self.claims.not_claimed:
            pytest.skip(f"{self.claims.provider} does not claim that {claim.value}: {self.claims.not_claimed[claim]}")

    def config(self, **keys: Any) -> QueueConfig:
        """The queue's configuration; `broker_url` may be another than the broker's own."""
        where = {"broker_url": self.url} if self.url else {}
        config = queue_config(self.name, self.claims.provider, **where, **{**self.claims.keys, **keys})
        self._made[tuple(config.retry.delays())] = config
        return config

    def keys(self, **keys: Any) -> dict[str, Any]:
        """The queue as an entry of `queues.yaml`."""
        return self.config(**keys).model_dump(mode="json", exclude_unset=True)

    @asynccontextmanager
    async def publisher(self, **keys: Any) -> AsyncIterator[QueuePublisher]:
        """A publisher, closed at the end."""
        publisher = get_publisher(self.config(**keys))
        try:
            yield publisher
        finally:
            await publisher.close()

    @asynccontextmanager
    async def inbox(self, **keys: Any) -> AsyncIterator[Inbox]:
        """An open consumer whose deliveries are only collected, closed at the end."""
        inbox = Inbox(self.config(**keys))
        try:
            await inbox.consumer.open()
            yield inbox
        finally:
            await inbox.close()

    async def declare(self) -> None:
        """See to it that the queue and its places are there."""
        async with self.inbox():
            pass

    async def publish(self, count: int, **keys: Any) -> list[str]:
        """Publish so many messages, one after the other. Returns their ids."""
        async with self.publisher(**keys) as publisher:
            return [await publisher.publish_message(self.name, BODY) for _ in range(count)]

    async def depth(self, place: Place) -> int:
        """How many messages lie in a place."""
        reader = get_dead_letters(self.config(), place)
        try:
            return await reader.depth()
        finally:
            await reader.close()

    async def take_all(self, place: Place) -> list[Message]:
        """Take all messages out of a place."""
        reader, processor = get_dead_letters(self.config(), place), get_processor(self.config())
        messages: list[Message] = []
        try:
            while (delivery := await reader.take()) is not None:
                messages.append(delivery.message)
                await processor.ack(delivery)
        finally:
            await reader.close()
            await processor.close()
        return messages

    async def clean(self) -> None:
        """Delete the queue with all its places."""
        for config in self._made.values() or [self.config()]:
            await asyncio.to_thread(self.claims.clean, self.url, config)


class Inbox:
    """A consumer, and what settles its deliveries."""

    def __init__(self, config: QueueConfig) -> None:
        self.consumer: QueueConsumer = get_consumer(config, MessageProcessor())
        self.processor: QueueProcessor = get_processor(config)
        self.deliveries: list[Delivery] = []
        self.consumer.on_delivery = self._take

    @property
    def ids(self) -> list[str]:
        """The ids of all that came, in order."""
        return [delivery.message.message_id for delivery in self.deliveries]

    async def has(self, count: int) -> list[Delivery]:
        """Wait until so many deliveries have come, and return them."""
        try:
            await eventually(lambda: len(self.deliveries) >= count, f"{count} deliveries come")
        except AssertionError as error:
            raise AssertionError(f"{error}; there came {len(self.deliveries)}: {self.ids}") from None
        return self.deliveries

    async def close(self) -> None:
        """Close both."""
        await self.consumer.close()
        await self.processor.close()

    async def _take(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)


class Sender:
    """Publishes through the provider, many at a time, through whatever happens to the broker.

    Every try has a fresh id, so that what landed unconfirmed is no duplicate.

    Attributes:
        confirmed: ids of the messages that the broker has confirmed.
        attempted: all ids.
    """

    def __init__(self, publisher: QueuePublisher, queue: str, body: Mapping[str, Any] = BODY) -> None:
        self._publisher = publisher
        self._queue = queue
        self._body = body
        self.attempted: set[str] = set()
        self.confirmed: set[str] = set()

    async def send(self, count: int, in_flight: int = 50) -> None:
        """Return once `count` more are confirmed."""
        left = iter(range(count))

        async def send_on() -> None:
            for _ in left:
                while not await self._try():  # noqa: ASYNC110 - it is not a wait but another try
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(send_on() for _ in range(in_flight)))

    async def _try(self) -> bool:
        name = uuid.uuid4().hex
        self.attempted.add(name)
        try:
            await self._publisher.publish_message(self._queue, self._body, message_id=name)
        except PublishError:
            return False
        self.confirmed.add(name)
        return True
