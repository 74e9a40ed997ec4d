# The template's: an update changes it. Which files are yours: README.md.
"""Leases: what one consumer or reader of a polled broker has in flight, and keeps for as long as it takes.

Such a broker lends a message for a time (`ack_wait`, a visibility timeout), after which somebody else gets it. So a
lease is prolonged while its message is in flight. If that comes too late, one delivery is lost, and the link is as good
as before.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from app.queue.clock import now
from app.queue.errors import BrokerError, DeliveryLostError
from app.queue.messages.message import Arrival, Delivery, Message

logger = logging.getLogger(__name__)

KEEP_EVERY = 5.0  # seconds between prolongations at most. What is settled sooner costs none
CLOSE_TIMEOUT = 1.0

Received = TypeVar("Received")


@dataclass(slots=True, eq=False)
class Lease(Generic[Received]):
    """A message in flight, as a delivery's token. `key` says which, `received` is what the broker gave."""

    key: Hashable
    received: Received
    leases: Leases[Received]
    since: float

    def check(self) -> None:
        """Raise DeliveryLostError if it can't be settled any more."""
        if not self.leases.has(self):
            raise DeliveryLostError("the delivery's link is gone, or another instance has the message now")

    def let_go(self) -> None:
        """Keep the message no longer: it is settled, or is to come again."""
        self.leases.let_go(self)

    def delivery(self, queue: str, arrival: Arrival) -> Delivery:
        """The message in flight, as the core knows it."""
        message, identity = self.leases.read(self)
        return Delivery(queue, message, arrival, self, identity)

    async def put_back(self, delay: float = 0.0) -> None:
        """Have it delivered again after so many seconds; by the end of its lease, if the broker has nothing better."""
        self.let_go()
        with suppress(BrokerError):
            await self.leases.put_back(self, delay)


class Leases(ABC, Generic[Received]):
    """The register. A provider says how a lease is prolonged, and what becomes of those that are left at the end."""

    def __init__(self, connection: Any, ack_wait: float, where: str) -> None:
        self.connection = connection
        self.where = where  # of which place, for people
        self.room = asyncio.Event()  # set whenever something is not in flight any more
        self.ack_wait = ack_wait
        self._in_flight: dict[Hashable, Lease[Received]] = {}
        self._settling: set[asyncio.Future[Any]] = set()
        self._keeping = asyncio.create_task(self._keep())

    @abstractmethod
    def read(self, lease: Lease[Received]) -> tuple[Message, str]:
        """The message of a lease, and the id that it came with, "" if none."""

    @abstractmethod
    async def prolong(self, leases: Sequence[Lease[Received]]) -> Collection[Lease[Received]]:
        """Tell the broker that we are still at it. Returns those that it knows not to be ours any more.

        Raises BrokerError: then the next turn tries again.
        """

    async def put_back(self, lease: Lease[Received], delay: float) -> None:
        """See `Lease.put_back()`. Nothing: it comes again when its time is over. Raises BrokerError."""

    async def leave(self, leases: Sequence[Lease[Received]]) -> None:
        """Called at the end, while the connection is open: let others have these, and all that came unseen, at once.

        Ends in bounded time: the broker may be frozen. Raises BrokerError.
        """

    def __len__(self) -> int:
        return len(self._in_flight)

    def has(self, lease: Lease[Received]) -> bool:
        """True while the lease's delivery can be settled."""
        return self._in_flight.get(lease.key) is lease and bool(self.connection.is_open)

    def take(self, key: Hashable, received: Received) -> Lease[Received] | None:
        """Note one as in flight. None if it is so already: this loop was blocked, and could not prolong its lease."""
        if (known := self._in_flight.get(key)) is not None:
            known.received = received
            return None
        lease = self._in_flight[key] = Lease(key, received, self, now())
        return lease

    def let_go(self, lease: Lease[Received]) -> None:
        """It is not in flight any more."""
        if self._in_flight.get(lease.key) is lease:
            del self._in_flight[lease.key]
            self.room.set()

    async def settle(self, settling: Any) -> Any:
        """Await what settles something. `close()` waits for it, so that it is known what became of the message."""
        task = asyncio.ensure_future(settling)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)
        return await task

    async def close(self, *, leave: bool = True) -> None:
        """Have nothing in flight. If `leave`, others may have it at once; else only when its time is over."""
        self._keeping.cancel()
        if self._settling and self.connection.is_open:
            await asyncio.wait(self._settling, timeout=CLOSE_TIMEOUT)
            await asyncio.sleep(0)  # they let go of what they have settled
        left = list(self._in_flight.values())
        self._in_flight.clear()
        self.room.set()
        if leave and self.connection.is_open:
            with suppress(BrokerError):
                await self.leave(left)

    async def _keep(self) -> None:
        turn = min(self.ack_wait / 4, KEEP_EVERY)
        while True:
            await asyncio.sleep(turn)
            old = now() - turn
            leases = [lease for lease in self._in_flight.values() if lease.since <= old]
            if not leases:
                continue
            try:
                lost = await self.prolong(leases)
            except BrokerError as error:
                logger.debug("%s: can't say that we are at it: %s", self.where, error)
                continue
            for lease in lost:
                if self.has(lease):
                    self.let_go(lease)
                    logger.warning(
                        "%s: message %s, which is in flight here, has gone to another instance, since nothing was "
                        "heard of this one for %g s",
                        *(self.where, lease.key, self.ack_wait),
                    )
