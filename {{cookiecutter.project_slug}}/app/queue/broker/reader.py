# The template's: an update changes it. Which files are yours: README.md.
"""LeasedReader: reads a place of a polled broker, one message at a time, and keeps what it took."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Generic, TypeVar

from app.queue.broker.connection import Connection
from app.queue.broker.leases import Lease, Leases
from app.queue.broker.link import Linked
from app.queue.errors import BrokerError
from app.queue.interfaces import Arrival, DeadLetterQueueHandler, Delivery, Place
from app.queue.messages.message import undivided_name

Kept = TypeVar("Kept", bound=Leases[Any])


class LeasedReader(DeadLetterQueueHandler, Linked[Connection], Generic[Connection, Kept]):
    """Opens itself on first use, and again after a loss. An error ends the link, so that the place is made anew."""

    def __init__(self, queue_name: str, config: Any, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config, place)
        self.name = undivided_name(queue_name, place)
        self.link = self.make_link()
        self._leases: Kept | None = None

    @abstractmethod
    async def begin(self, connection: Connection) -> Kept:
        """Make the place, unless it is Place.OLD_QUARANTINE, and the register of what is taken. Raises BrokerError."""

    @abstractmethod
    async def count(self, connection: Connection) -> int:
        """How many messages lie there. Raises BrokerError."""

    @abstractmethod
    async def take(self, leases: Kept) -> tuple[Lease[Any], Arrival] | None:
        """The oldest message that is there now, and how it came. Raises BrokerError."""

    async def depth(self) -> int:
        await self._open()
        try:
            return await self.count(self.link.connection)
        except BrokerError as error:
            self.link.lose(str(error))
            raise

    async def receive(self) -> Delivery | None:
        leases = await self._open()
        try:
            taken = await self.take(leases)
        except BrokerError as error:
            self.link.lose(str(error))
            raise
        if taken is None:
            return None
        lease, arrival = taken
        return lease.delivery(self.queue_name, arrival)

    async def close(self) -> None:
        leases, self._leases = self._leases, None
        if leases is not None:
            await leases.close()
        await self.link.close()

    async def _open(self) -> Kept:
        if self._leases is None or not self.link.is_open:
            await self.close()
            await self.link.open()
            self._leases = await self.begin(self.link.connection)
        return self._leases
