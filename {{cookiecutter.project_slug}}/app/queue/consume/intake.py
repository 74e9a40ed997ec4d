# The template's: an update changes it. Which files are yours: README.md.
"""Whether a queue's consumer receives: it does while there is no reason to hold back."""

from __future__ import annotations

from enum import StrEnum

from app.queue.interfaces import QueueConsumer


class HoldBack(StrEnum):
    """Why nothing more is received for now. Each is set and taken back by one part, and knows nothing of the others."""

    DRAIN = "drain"  # the service stops. It is never taken back
    QUARANTINE = "quarantine"  # messages that may have killed a process run alone
    HELD = "held"  # as much as may be is in flight and can't be settled


class Intake:
    """The reasons to hold back, and a consumer that receives when there is none. They outlast its links."""

    def __init__(self, consumer: QueueConsumer) -> None:
        self._consumer = consumer
        self._open = False
        self.reasons: set[HoldBack] = set()

    async def open(self) -> None:
        """Connect; receive, unless there is a reason not to. Raises BrokerError."""
        await self._consumer.open()
        self._open = True
        if self.reasons:
            await self._consumer.stop_intake()

    async def close(self) -> None:
        """The consumer's link is gone, or is to go. It receives again when it is opened, unless there is a reason."""
        self._open = False
        await self._consumer.close()

    async def hold_back(self, reason: HoldBack) -> None:
        """Receive nothing more. Raises BrokerError; the reason holds all the same."""
        self.reasons.add(reason)
        await self._consumer.stop_intake()

    async def make_room(self, held: int) -> None:
        """So many in flight don't count from now on. Raises BrokerError if the link is lost."""
        if self._open:
            await self._consumer.make_room(held)

    async def take_back(self, reason: HoldBack) -> None:
        """This is no reason any more. Receive again if it was the last one; raises BrokerError if the link is lost."""
        if reason in self.reasons:
            self.reasons.remove(reason)
            if self._open and not self.reasons:
                await self._consumer.start_intake()
