# The template's: an update changes it. Which files are yours: README.md.
"""Intake: reads a stream for one consumer, and takes over what dead consumers had in flight."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from app.queue.broker.leases import Lease
from app.queue.broker.polling import Polling
from app.queue.interfaces import Arrival
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.errors import translated
from app.queue.providers.redis.leases import Entries, Fields, RedisLeases
from app.queue.providers.redis.scripts import GROUP

BLOCK = 1.0
"""Seconds for which the server waits for something to answer with. An answer without entries is a sign of life, too."""
CLAIM_EVERY = 5.0
FROM_START = "0-0"


class Intake(Polling):
    """Gives each entry that comes to `took`, with how it came.

    The client is used for nothing else, since it waits while the server does.
    """

    _leases: RedisLeases

    def __init__(
        self,
        client: RedisClient,
        leases: RedisLeases,
        limit: int,
        took: Callable[[Lease[Fields], Arrival], None],
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__(leases, limit, on_end, patience=BLOCK)
        self._client = client
        self._claims_every = min(leases.ack_wait / 4, CLAIM_EVERY)
        self._took = took
        self._claim_at = 0.0
        self._own: str | None = FROM_START
        """Where to read on in what this consumer had in flight when its link was lost, or was on its way to it."""

    async def fetch(self, room: int) -> None:
        with translated(self._leases.where):
            if self._own is not None:
                await self._take_own(self._own, room)
            elif time.monotonic() >= self._claim_at:
                async for lease in claimed(self._client, self._leases, room):
                    self._took(lease, Arrival.ABANDONED)
                self._claim_at = time.monotonic() + self._claims_every
            else:
                more = await read(self._client, self._leases, ">", room, "BLOCK", round(BLOCK * 1000))
                self._take(more, Arrival.NEW)

    async def _take_own(self, after: str, room: int) -> None:
        entries = await read(self._client, self._leases, after, room)
        self._own = entries[-1][0] if entries else None
        for entry, fields in entries:
            if fields is None:  # somebody has deleted it
                await self._client.call("XACK", self._leases.stream, GROUP, entry)
        self._take(entries, Arrival.OURS)

    def _take(self, entries: Entries, arrival: Arrival) -> None:
        for lease in self._leases.take_all(entries):
            self._took(lease, arrival)


async def read(client: RedisClient, leases: RedisLeases, after: str, count: int, *more: str | int) -> Entries:
    """What this consumer had in flight behind an entry; behind ">", what nobody had."""
    where = "STREAMS", leases.stream, after
    answer = await client.call("XREADGROUP", "GROUP", GROUP, leases.name, "COUNT", count, *more, *where, timeout=None)
    return _entries(answer[0][1]) if answer else []


async def claimed(client: RedisClient, leases: RedisLeases, room: int) -> AsyncIterator[Lease[Fields]]:
    """What nobody has prolonged in time, taken over.

    Redis looks at ten times as many entries as it may give, and says where to look on.
    """
    whose, cursor = (leases.stream, GROUP, leases.name, round(leases.ack_wait * 1000)), FROM_START
    while room > 0:
        answer = await client.call("XAUTOCLAIM", *whose, cursor, "COUNT", room, timeout=None)
        for lease in leases.take_all(_entries(answer[1])):
            room -= 1
            yield lease
        cursor = answer[0].decode()
        if cursor == FROM_START:
            return


def _entries(answer: Sequence[Any]) -> Entries:
    """The ids and fields of the entries in an answer; before Redis 7, what was deleted may be an empty place."""
    return [(entry[0].decode(), entry[1]) for entry in answer if entry]
