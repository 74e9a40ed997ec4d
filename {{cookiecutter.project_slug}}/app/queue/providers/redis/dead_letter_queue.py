# The template's: an update changes it. Which files are yours: README.md.
"""RedisDeadLetterQueueHandler: reads `dlq_<queue>`, or another place, one message at a time."""

from __future__ import annotations

import asyncio
from typing import Any

from app.queue.broker.leases import Lease
from app.queue.broker.reader import LeasedReader
from app.queue.interfaces import Arrival, Place
from app.queue.providers.redis.client import REQUEST_TIMEOUT
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.connection import MasterConnection, RedisConnectionManager
from app.queue.providers.redis.errors import translated
from app.queue.providers.redis.intake import claimed, read
from app.queue.providers.redis.leases import RedisLeases
from app.queue.providers.redis.streams import consumer_name, ensure_stream


class RedisDeadLetterQueueHandler(LeasedReader[MasterConnection, RedisLeases]):
    """Asks for one message, that is there now or not: first for one that a dead reader had in flight."""

    config: RedisQueueConfig
    pool = RedisConnectionManager

    async def begin(self, connection: MasterConnection) -> RedisLeases:
        if self.place is not Place.OLD_QUARANTINE:
            await ensure_stream(connection, self.name)
        return RedisLeases(connection, self.name, consumer_name(), self.config.ack_wait)

    async def count(self, connection: MasterConnection) -> int:
        with translated(f"stream {self.name!r}"):
            return int(await connection.call("XLEN", self.name))

    async def take(self, leases: RedisLeases) -> tuple[Lease[Any], Arrival] | None:
        with translated(leases.where):
            if abandoned := [lease async for lease in claimed(leases.connection, leases, 1)]:
                return abandoned[0], Arrival.ABANDONED
            async with asyncio.timeout(REQUEST_TIMEOUT):
                entries = await read(leases.connection, leases, ">", 1)
        return next(((lease, Arrival.NEW) for lease in leases.take_all(entries)), None)
