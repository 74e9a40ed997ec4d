"""What receives messages, and keeps them from others too long, or not long enough."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.queue.errors import BrokerError
from app.queue.interfaces import Delivery, Message, Place, QueueConsumer
from core_tests.contract.broken.force import later, original, put
from core_tests.contract.broken.parts import WrappedConsumer, WrappedReader
from core_tests.contract.subject import unflagged

LEASE = 2.0
"""Seconds after which a lease that is not prolonged ends."""


class AcksOnReceive(WrappedConsumer):
    """Auto-ack. `returns`: what is in flight when it closes in peace is put back, so that only a kill shows it."""

    returns = False

    def __init__(self, inner: QueueConsumer) -> None:
        super().__init__(inner)
        self._settling = original(inner.config).processor(inner.queue_name, inner.config)
        self._taken: list[Message] = []

    async def received(self, delivery: Delivery) -> None:
        await self._settling.ack(delivery)
        self._taken.append(delivery.message)
        await super().received(delivery)

    async def close(self) -> None:
        taken, self._taken = self._taken, []
        for message in taken if self.returns else ():
            with suppress(BrokerError):
                await put(self, message, Place.QUEUE)
        await super().close()


class ForgetsWhatTheDeadHad(AcksOnReceive):
    """Nothing comes again after a kill."""

    returns = True


class NeverProlongs(WrappedConsumer):
    """When its lease is over, what is in flight goes to another consumer."""

    async def received(self, delivery: Delivery) -> None:
        later(lease_ends(self, delivery, Place.QUEUE))
        await super().received(delivery)


class NeverProlongsInAPlace(WrappedReader):
    """The same, of a reader."""

    async def receive(self) -> Delivery | None:
        delivery = await super().receive()
        if delivery is not None:
            later(lease_ends(self, delivery, self.place))
        return delivery


class MakesNoRoom(WrappedConsumer):
    """What can't be settled keeps its room: as many as may be in flight hold up all others."""

    async def make_room(self, held: int) -> None:
        """Nothing happens."""


class NeverSaysAgain(WrappedConsumer):
    """What comes again looks as if it came for the first time: a message that kills would kill for ever."""

    async def received(self, delivery: Delivery) -> None:
        await super().received(unflagged(delivery))


async def lease_ends(part: WrappedConsumer | WrappedReader, delivery: Delivery, place: Place) -> None:
    """Let others have a delivery, as a broker does, unless it is settled by then."""
    await asyncio.sleep(LEASE)
    processor = original(part.config).processor(part.queue_name, part.config)
    try:
        with suppress(BrokerError):
            await processor.move(delivery, delivery.message, place)
    finally:
        await processor.close()
