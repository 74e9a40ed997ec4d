# The template's: an update changes it. Which files are yours: README.md.
"""RedisLeases: what one consumer has taken from one stream, and has neither settled nor left to others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from app.queue.broker.batches import Batches
from app.queue.broker.leases import CLOSE_TIMEOUT, Lease, Leases
from app.queue.errors import DeliveryLostError
from app.queue.interfaces import Message
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.errors import settling, translated
from app.queue.providers.redis.messages import to_message
from app.queue.providers.redis.scripts import ACK, KEEP, MOVE, RELEASE

AT_A_TIME = 500  # entries in one script at most: Redis does nothing else meanwhile
LOOKS_IDLE = 86_400_000  # milliseconds for which what is left to others looks idle: longer than any `ack_wait`
Fields = Sequence[bytes]
Entries = Sequence[tuple[str, Fields | None]]  # ids, and None for the fields of what somebody has deleted


class RedisLeases(Leases[Fields]):
    """A lease's key is its entry's id. It is prolonged by claiming the entry once more."""

    connection: RedisClient

    def __init__(self, client: RedisClient, stream: str, name: str, ack_wait: float) -> None:
        super().__init__(client, ack_wait, f"stream {stream!r}")
        self.stream = stream
        self.name = name
        self.retried = asyncio.Event()  # set whenever something was put among the delayed
        self._acks = Batches(self._ack_all, AT_A_TIME)

    def take_all(self, entries: Entries) -> Iterator[Lease[Fields]]:
        """Note each as in flight, as it is asked for, save what is so already."""
        for entry, fields in entries:
            if fields is not None and (lease := self.take(entry, fields)) is not None:
                yield lease

    def read(self, lease: Lease[Fields]) -> tuple[Message, str]:
        return to_message(str(lease.key), lease.received)

    async def ack(self, lease: Lease[Fields]) -> None:
        """Return when the server has forgotten the message. Raises BrokerError."""
        await self._acks.add(lease)

    async def move(self, lease: Lease[Fields], target: str, fields: Fields, delay: float | None) -> None:
        """Put a message into a stream, or among the delayed for so many seconds, and forget the lease's."""
        for_how_long = "" if delay is None else round(delay * 1000)
        try:
            with settling(f"key {target!r}"):
                arguments = [self.name, str(lease.key), for_how_long, *fields]
                moved = await self.connection.run(MOVE, [self.stream, target], arguments, timeout=None)
        except DeliveryLostError:
            lease.let_go()
            raise
        lease.let_go()
        if not moved:
            raise DeliveryLostError("another instance has the message now")
        if delay is not None:
            self.retried.set()

    async def close(self, *, leave: bool = True) -> None:
        await self._acks.close(CLOSE_TIMEOUT if self.connection.is_open else 0.0)
        await super().close(leave=leave)

    async def prolong(self, leases: Sequence[Lease[Fields]]) -> list[Lease[Fields]]:
        lost: list[Lease[Fields]] = []
        for start in range(0, len(leases), AT_A_TIME):
            together = leases[start : start + AT_A_TIME]
            with translated(self.where):
                kept = await self.connection.run(KEEP, [self.stream], [self.name, *_keys(together)])
            lost += [lease for lease, good in zip(together, kept, strict=True) if not good]
        return lost

    async def leave(self, leases: Sequence[Lease[Fields]]) -> None:  # noqa: ARG002 - the server knows them all
        with translated("closing"):
            await self.connection.run(RELEASE, [self.stream], [self.name, LOOKS_IDLE], timeout=CLOSE_TIMEOUT)

    async def _ack_all(self, leases: Sequence[Lease[Fields]]) -> list[DeliveryLostError | None]:
        with settling(self.where):
            acked = await self.connection.run(ACK, [self.stream], [self.name, *_keys(leases)], timeout=None)
        for lease in leases:
            lease.let_go()
        return [None if good else DeliveryLostError("another instance has the message now") for good in acked]


def _keys(leases: Sequence[Lease[Fields]]) -> list[str]:
    return [str(lease.key) for lease in leases]
