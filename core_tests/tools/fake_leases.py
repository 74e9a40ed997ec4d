"""Leases at the broker of `fake_broker.py`, for the tests of the kit's polled half."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from app.queue.broker.leases import Lease, Leases
from app.queue.errors import BrokerError
from app.queue.interfaces import Message


class FakeLeases(Leases[str]):
    """Notes what is prolonged, put back and left; says that those in `taken_over` are lost."""

    def __init__(self, connection: Any, ack_wait: float = 0.2) -> None:
        super().__init__(connection, ack_wait, "queue 'q'")
        self.prolonged: list[str] = []
        self.returned: list[tuple[str, float]] = []
        self.left: list[str] | None = None
        self.taken_over: set[str] = set()
        self.fails = False

    def read(self, lease: Lease[str]) -> tuple[Message, str]:
        return Message(lease.received.encode(), lease.received), lease.received

    async def prolong(self, leases: Sequence[Lease[str]]) -> Collection[Lease[str]]:
        if self.fails:
            raise BrokerError("not now")
        self.prolonged += [lease.received for lease in leases]
        return [lease for lease in leases if lease.received in self.taken_over]

    async def put_back(self, lease: Lease[str], delay: float) -> None:
        self.returned.append((lease.received, delay))

    async def leave(self, leases: Sequence[Lease[str]]) -> None:
        self.left = [lease.received for lease in leases]
