"""What settles deliveries in a way that it must not."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress

from app.queue.errors import BrokerError
from app.queue.interfaces import Delivery, Message, Place
from core_tests.contract.broken.force import later, put
from core_tests.contract.broken.parts import WrappedConsumer, WrappedProcessor, WrappedReader

UNSETTLED: dict[str, list[Delivery]] = {}
"""What is in flight, by queue, where a variant asks for that."""


class AcksFirst(WrappedProcessor):
    """The one mistake that loses a message: nobody has it between the two steps."""

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        await self.inner.ack(delivery)
        await put(self, message, Place.QUEUE if place is Place.RETRY else place)


class LosesTheDelay(WrappedProcessor):
    """A retry that is none."""

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        await self.inner.move(delivery, message, Place.QUEUE if place is Place.RETRY else place)


class CutsTheDelay(WrappedProcessor):
    """The broker has a longest delay, and nobody made up for it."""

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        shortest = min(self.config.retry.delays())
        await self.inner.move(delivery, message, place, min(delay, shortest) if place is Place.RETRY else delay)


class KeepsTheDelayInMemory(WrappedProcessor):
    """The delay dies with the process, and the message with it."""

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        if place is not Place.RETRY:
            await self.inner.move(delivery, message, place)
            return
        await self.inner.ack(delivery)
        later(self._later(message, delay))

    async def _later(self, message: Message, delay: float) -> None:
        await asyncio.sleep(delay)
        await put(self, message, Place.QUEUE)


class DropsWhatIsTooLarge(WrappedProcessor):
    """What doesn't fit is acked, so that it holds nobody up."""

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        if len(message.body) + sum(len(str(value)) for value in message.headers.values()) > self.ROOM:
            await self.inner.ack(delivery)
        else:
            await self.inner.move(delivery, message, place, delay)

    ROOM = 100_000


class NotesUnsettled(WrappedConsumer):
    """Breaks nothing: it is for the processors that need to know what else is in flight."""

    async def received(self, delivery: Delivery) -> None:
        UNSETTLED.setdefault(self.queue_name, []).append(delivery)
        await super().received(delivery)


class AcksAllBefore(WrappedProcessor):
    """An ack of one delivery that is one of all before it."""

    async def ack(self, delivery: Delivery) -> None:
        for other in UNSETTLED.get(self.queue_name, []):
            with suppress(BrokerError):
                await self.inner.ack(other)
            if other is delivery:
                break


class AcksAnotherInstead(WrappedProcessor):
    """A second ack of one delivery is one of the next."""

    async def ack(self, delivery: Delivery) -> None:
        waiting = UNSETTLED.get(self.queue_name, [])
        if delivery in waiting:
            waiting.remove(delivery)
        elif waiting:
            delivery = waiting.pop()
        await self.inner.ack(delivery)


class AcksLater(WrappedProcessor):
    """An ack returns before the broker has it."""

    async def ack(self, delivery: Delivery) -> None:
        later(self._later(delivery))

    async def _later(self, delivery: Delivery) -> None:
        await asyncio.sleep(1.0)
        with suppress(BrokerError):
            await self.inner.ack(delivery)


def loses(header: str) -> type[WrappedProcessor]:
    """A processor whose moves lose a header."""

    class Loses(WrappedProcessor):
        async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
            kept = {name: value for name, value in message.headers.items() if name != header}
            await self.inner.move(delivery, dataclasses.replace(message, headers=kept), place, delay)

    return Loses


def forgets(header: str) -> type[WrappedReader]:
    """A reader that loses a header of what it reads."""

    class Forgets(WrappedReader):
        async def receive(self) -> Delivery | None:
            delivery = await super().receive()
            if delivery is not None:
                kept = {name: value for name, value in delivery.message.headers.items() if name != header}
                delivery.message = dataclasses.replace(delivery.message, headers=kept)
            return delivery

    return Forgets
