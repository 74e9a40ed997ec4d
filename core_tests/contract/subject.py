"""The provider under test, with a queue of the test's own, seen through the interfaces and through nothing else."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from app.queue.config import QueueConfig
from app.queue.errors import BrokerUnavailableError, PublishError
from app.queue.interfaces import (
    Arrival,
    Claims,
    DeadLetterQueueHandler,
    Delivery,
    Message,
    Place,
    PublisherState,
    QueueConsumer,
    QueueProcessor,
    QueuePublisher,
)
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_dead_letters, get_processor, get_publisher
from core_tests.contract.claims import Candidate, address, at
from core_tests.tools.broker_node import BrokerNode
from core_tests.tools.example import queue_config
from core_tests.tools.proxy import Proxy
from core_tests.tools.waiting import eventually

KEPT = (Place.DLQ, Place.QUARANTINE, Place.PARKED)
"""The places that only a reader reads."""
QUIET = 1.0
"""Seconds within which what a broker gives at once has come."""
BODY = {"type": "send_audio", "user_id": 123, "content": "audio_data"}


def came_again(delivery: Delivery) -> bool:
    """True if somebody had it in flight before, and did not settle it."""
    return delivery.arrival is not Arrival.NEW


def unflagged(delivery: Delivery) -> Delivery:
    """The same as if it came for the first time."""
    delivery.arrival = Arrival.NEW
    return delivery


def is_registered(consumer: QueueConsumer) -> bool:
    """True while the broker would give it the next message."""
    return consumer.registered


def state_of(publisher: QueuePublisher) -> PublisherState:
    """As it is now; type checkers believe that it never changes."""
    return publisher.state


class Subject:
    """Makes the parts of one queue at one broker. `node` is there only if the broker may be killed.

    `patience` is for how many seconds something is waited for that must happen.
    """

    def __init__(self, candidate: Candidate, url: str, node: BrokerNode | None = None, patience: float = 30.0) -> None:
        self.candidate = candidate
        self.url = url
        self.patience = patience
        self.name = f"contract_{uuid.uuid4().hex[:12]}"
        self._node = node
        self._made: dict[tuple[float, ...], QueueConfig] = {}
        """A configuration for each set of delays: the places where retries wait are named after them."""

    @property
    def claims(self) -> Claims:
        """What the provider says that it can."""
        return self.candidate.claims

    @property
    def node(self) -> BrokerNode:
        """The private server."""
        assert self._node is not None
        return self._node

    def needs(self, claim: str) -> None:
        """Skip the test if the provider does not make this claim, an attribute of `Claims`."""
        if not getattr(self.claims, claim):
            why = self.candidate.reasons.get(claim, "no reason is given")
            pytest.skip(f"{self.candidate.provider} does not claim {claim}: {why}")

    def config(self, **keys: Any) -> QueueConfig:
        """The queue's configuration; `broker_url` may be another than the broker's own."""
        where = {"broker_url": self.url} if self.url else {}
        config = queue_config(self.name, self.candidate.provider, **{**where, **self.candidate.keys, **keys})
        self._made[tuple(config.retry.delays())] = config
        return config

    @asynccontextmanager
    async def behind_proxy(self) -> AsyncIterator[tuple[Proxy, dict[str, Any]]]:
        """A proxy before the broker, and the keys of a queue that goes through it; skips if there is no address."""
        if not self.candidate.has_address:
            pytest.skip(f"{self.candidate.provider} has no server that a proxy could stand before")
        host, port = address(self.url, self.candidate.node)
        proxy = await asyncio.to_thread(Proxy, port, host)
        try:
            yield proxy, {"broker_url": at(self.url, proxy.port), **self.candidate.hasty}
        finally:
            await asyncio.to_thread(proxy.close)

    def keys(self, **keys: Any) -> dict[str, Any]:
        """The queue as an entry of `queues.yaml`."""
        return self.config(**keys).model_dump(mode="json", exclude_unset=True)

    @asynccontextmanager
    async def publisher(self, **keys: Any) -> AsyncIterator[QueuePublisher]:
        """A publisher, closed at the end. It has time, unless a test says otherwise: the machine may be busy."""
        publisher = get_publisher(self.config(**{"publish_timeout": 60, **keys}))
        try:
            yield publisher
        finally:
            await publisher.close()

    @asynccontextmanager
    async def inbox(self, **keys: Any) -> AsyncIterator[Inbox]:
        """An open consumer whose deliveries are only collected, closed at the end."""
        inbox = Inbox(self.config(**keys), self.patience)
        try:
            await inbox.consumer.open()
            yield inbox
        finally:
            await inbox.close()

    async def declare(self, **keys: Any) -> None:
        """See to it that the queue and its places are there: as the service does, with another try if need be."""

        async def declared() -> bool:
            with suppress(BrokerUnavailableError):
                async with self.inbox(**keys):
                    return True
            return False

        await eventually(declared, "the queue and its places are there")

    async def publish(self, count: int, **keys: Any) -> list[str]:
        """Publish so many messages, one after the other. Returns their ids."""
        async with self.publisher(**keys) as publisher:
            return [await publisher.publish_message(self.name, BODY) for _ in range(count)]

    @asynccontextmanager
    async def reader(self, place: Place = Place.DLQ, **keys: Any) -> AsyncIterator[PlaceReader]:
        """A reader of a place, and what settles what it took; closed at the end."""
        place_reader = PlaceReader(self.config(**keys), place)
        try:
            yield place_reader
        finally:
            await place_reader.close()

    async def depth(self, place: Place) -> int:
        """How many messages lie in a place."""
        reader = get_dead_letters(self.config(), place)
        try:
            return await reader.depth()
        finally:
            await reader.close()

    async def holds(self, place: Place, count: int) -> bool:
        """True if so many messages lie in a place."""
        return await self.depth(place) == count

    async def take_all(self, place: Place) -> list[Message]:
        """Take all messages out of a place."""
        messages: list[Message] = []
        async with self.reader(place) as place_reader:
            while (delivery := await place_reader.reader.receive()) is not None:
                messages.append(delivery.message)
                await place_reader.processor.ack(delivery)
        return messages

    async def everywhere(self, expected: Collection[str]) -> list[Message]:
        """Take all messages out of all places, the queue and what waits for a retry included.

        Looks again while one of the `expected` ids is missing, until the subject's patience ends: what broken links had
        in flight comes when the broker is done with them, and a busy broker takes its time.
        """
        taken: list[Message] = []
        deadline = time.monotonic() + self.patience
        while True:
            async with self.inbox(prefetch=1000) as inbox:
                await inbox.is_quiet(self.candidate.lease + QUIET)
                for delivery in inbox.deliveries:
                    await inbox.processor.ack(delivery)
            taken += [delivery.message for delivery in inbox.deliveries]
            taken += [message for place in KEPT for message in await self.take_all(place)]
            if {message.message_id for message in taken} >= set(expected) or time.monotonic() > deadline:
                return taken

    async def clean(self) -> None:
        """Delete the queue with all its places."""
        for config in self._made.values() or [self.config()]:
            await asyncio.to_thread(self.candidate.clean, self.url, config)


class Inbox:
    """A consumer, and what settles its deliveries."""

    def __init__(self, config: QueueConfig, patience: float) -> None:
        self.consumer: QueueConsumer = get_consumer(config, MessageProcessor())
        self.processor: QueueProcessor = get_processor(config)
        self.deliveries: list[Delivery] = []
        self.consumer.on_delivery = self._take
        self._patience = patience

    @property
    def ids(self) -> list[str]:
        """The ids of all that came, in order."""
        return [delivery.message.message_id for delivery in self.deliveries]

    async def has(self, count: int) -> list[Delivery]:
        """Wait until so many deliveries have come, and return them."""
        try:
            await eventually(lambda: len(self.deliveries) >= count, f"{count} deliveries come", self._patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; there came {len(self.deliveries)}: {self.ids}") from None
        return self.deliveries

    async def is_quiet(self, seconds: float) -> None:
        """Return when nothing has come for so many seconds."""
        before = -1
        while before != len(self.deliveries):
            before = len(self.deliveries)
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close both."""
        await self.consumer.close()
        await self.processor.close()

    async def _take(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)


class PlaceReader:
    """The reader of a place, and what settles what it took."""

    def __init__(self, config: QueueConfig, place: Place) -> None:
        self.reader: DeadLetterQueueHandler = get_dead_letters(config, place)
        self.processor: QueueProcessor = get_processor(config)

    async def receive(self) -> Delivery:
        """The next message; there must be one."""
        delivery = await self.reader.receive()
        assert delivery is not None, "nothing is there"
        return delivery

    async def close(self) -> None:
        """Close both."""
        await self.reader.close()
        await self.processor.close()


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
        await self._send(iter(range(count)), in_flight)

    async def send_until(self, enough: asyncio.Event, in_flight: int = 50) -> None:
        """Send on until there were enough, and return once the last ones are confirmed."""
        await self._send(iter(enough.is_set, True), in_flight)

    async def _send(self, left: Iterator[object], in_flight: int) -> None:
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
