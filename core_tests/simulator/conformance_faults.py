"""What a script sees of faults: a link that breaks or falls silent, a lost confirm, a broker that takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

from app.queue.errors import BrokerError, PublishError
from app.queue.interfaces import Arrival, Delivery, Place, QueueConsumer, QueueProcessor
from app.queue.processor import MessageProcessor
from app.queue.settings.queues import QueueConfig
from app.queue.setup import get_consumer, get_dead_letters, get_processor, get_publisher
from core_tests.simulator.conformance import BODY, LOOK_EVERY, PATIENCE, PREFETCH, QUIET

FELT_AFTER = 1.0
"""Seconds after which a broker that takes nothing has said so."""


class Faults(Protocol):
    """How the links of the first process are broken, and the broker of both is filled."""

    async def drop(self) -> None:
        """Break the links; new ones can be opened."""

    async def freeze(self) -> None:
        """Let nothing through, for longer than the broker waits."""

    async def unfreeze(self) -> None:
        """New links can be opened again."""

    async def without_confirm(self, publishing: Coroutine[Any, Any, object]) -> BaseException | None:
        """Publish; it arrives, and the link breaks before that is confirmed. Returns what it raises."""

    def full(self) -> AbstractAsyncContextManager[None]:
        """Inside, the broker takes no messages."""


class End:
    """A consumer of one process, what settles its deliveries, and what has come."""

    def __init__(self, config: QueueConfig, name: str, trace: list[str]) -> None:
        self.consumer: QueueConsumer = get_consumer(config, MessageProcessor())
        self.processor: QueueProcessor = get_processor(config)
        self.consumer.on_delivery = self._came
        self._name = name
        self._trace = trace
        self._deliveries: list[Delivery] = []

    async def open(self) -> None:
        """Open it, as soon as that works."""
        for _ in range(round(PATIENCE / LOOK_EVERY)):
            try:
                await self.consumer.open()
            except BrokerError:
                await asyncio.sleep(LOOK_EVERY)
            else:
                return
        raise AssertionError(f"it can't be opened; before: {self._trace}")

    async def next(self, count: int) -> list[Delivery]:
        """The next deliveries, so many and no more."""
        for _ in range(round(PATIENCE / LOOK_EVERY)):
            if len(self._deliveries) >= count:
                break
            await asyncio.sleep(LOOK_EVERY)
        came = await self.rest()
        assert len(came) == count, f"{count} were to come, and there came {came}; before: {self._trace}"
        return came

    async def rest(self) -> list[Delivery]:
        """What comes until it is quiet, in the order of its ids."""
        await asyncio.sleep(QUIET)
        came, self._deliveries = self._deliveries, []
        came.sort(key=lambda delivery: delivery.message.message_id)
        for delivery in came:
            again = "new" if delivery.arrival is Arrival.NEW else "again"
            self._trace.append(f"{self._name}: {delivery.message.message_id} {again}")
        return came

    async def settle(self, delivery: Delivery, place: Place | None = None) -> None:
        """Ack it, or move it."""
        what = "ack" if place is None else f"move to {place.value}"
        try:
            if place is None:
                await self.processor.ack(delivery)
            else:
                await self.processor.move(delivery, replace(delivery.message, headers={"moved": "1"}), place)
        except BrokerError:
            what += " fails"
        self._trace.append(f"{self._name}: {delivery.message.message_id}: {what}")

    async def close(self) -> None:
        """Close both."""
        await self.consumer.close()
        await self.processor.close()

    async def _came(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)


class FaultScript:
    """The steps, and the trace of what they saw. `config` goes by links that break, and `elsewhere` by others."""

    def __init__(self, config: QueueConfig, elsewhere: QueueConfig, faults: Faults) -> None:
        self.trace: list[str] = []
        self._config = config
        self._elsewhere = elsewhere
        self._faults = faults
        self._one = End(config, "one", self.trace)
        self._other = End(elsewhere, "other", self.trace)
        self._publisher = get_publisher(elsewhere)

    async def run(self) -> list[str]:
        """All steps."""
        try:
            await self._one.open()
            await self._a_link_breaks()
            await self._a_lease_runs_out()
            await self._a_confirm_is_lost()
            await self._the_broker_is_full()
        finally:
            await self._faults.unfreeze()
            await asyncio.gather(self._one.close(), self._other.close(), self._publisher.close())
        return self.trace

    async def _a_link_breaks(self) -> None:
        """What was in flight can't be settled; it comes again, each time, and then what stood behind it."""
        one = self._one
        for number in range(PREFETCH):
            await self._publish(number)
        came = await one.next(PREFETCH)
        for _ in range(2):
            lost = asyncio.ensure_future(one.consumer.lost())
            await self._faults.drop()
            await lost
            await one.settle(came[0])
            await one.consumer.close()
            await one.open()
            came = await one.next(PREFETCH)
        await self._publish(PREFETCH)
        await one.next(0)
        await one.settle(came[0])
        self._left = [came[1], *await one.next(1)]

    async def _a_lease_runs_out(self) -> None:
        """What a silent process has comes to another one, which is told that somebody had it."""
        await self._one.settle(self._left[0])
        await asyncio.sleep(QUIET)  # an ack is on its way
        await self._faults.freeze()
        await self._other.open()
        (taken,) = await self._other.next(1)
        await self._other.settle(taken)
        await self._faults.unfreeze()
        await self._one.close()

    async def _a_confirm_is_lost(self) -> None:
        """It may have landed, says the error; and it has, once."""
        publisher = get_publisher(self._config)
        try:
            await publisher.publish_message(self._config.name, BODY, message_id="m10")
            unconfirmed = publisher.publish_message(self._config.name, {**BODY, "n": 1}, message_id="m11")
            error = await self._faults.without_confirm(unconfirmed)
        finally:
            await publisher.close()
        assert isinstance(error, PublishError), f"it was not confirmed, and publishing gives {error!r}"
        self.trace.append(f"m11 may have landed: {error.may_have_landed}")
        for delivery in await self._other.next(2):
            await self._other.settle(delivery)

    async def _the_broker_is_full(self) -> None:
        """Nothing is published or moved, and what is in flight stays so.

        A broker that pushes does not read what it is sent meanwhile, so that lands later; one that is asked refuses it.
        """
        await self._publish(PREFETCH + 1)
        (delivery,) = await self._other.next(1)
        async with self._faults.full():
            await asyncio.sleep(FELT_AFTER)
            await self._publish(PREFETCH + 2)
            await self._other.settle(delivery, Place.DLQ)
        await asyncio.sleep(FELT_AFTER)
        await self._other.settle(delivery, Place.DLQ)
        await self._other.rest()
        reader = get_dead_letters(self._elsewhere, Place.DLQ)
        self.trace.append(f"depth {await reader.depth()}")
        await reader.close()

    async def _publish(self, number: int) -> None:
        name = f"m{number}"
        try:
            await self._publisher.publish_message(self._elsewhere.name, {**BODY, "n": number}, message_id=name)
        except PublishError as error:
            self.trace.append(f"{name} is not published, may have landed: {error.may_have_landed}")
