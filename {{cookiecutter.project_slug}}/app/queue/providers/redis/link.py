"""RedisLink: a share in the connection of the loop, for a consumer, a publisher or a reader."""

from __future__ import annotations

import asyncio

from app.queue.errors import BrokerUnavailableError
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.connection import RedisConnection, RedisConnectionManager


class RedisLink:
    """It can be opened again after it was lost, and given up without the connection."""

    def __init__(self, config: RedisQueueConfig) -> None:
        self._config = config
        self._manager: RedisConnectionManager | None = None
        self._connection: RedisConnection | None = None
        self._given_up: asyncio.Future[str] | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """True while messages can be exchanged, as far as is known."""
        return (
            self._connection is not None
            and self._connection.is_open
            and self._given_up is not None
            and not self._given_up.done()
        )

    @property
    def connection(self) -> RedisConnection:
        """The connection. Raises BrokerUnavailableError if it is lost."""
        if self._connection is None or not self.is_open:
            raise BrokerUnavailableError("not connected to the broker")
        return self._connection

    async def open(self) -> None:
        """Connect if need be; return at once if that is so already. Raises BrokerError."""
        async with self._opening:
            if self.is_open:
                return
            await self._close()
            manager = RedisConnectionManager.of(self._config)
            self._connection = await manager.acquire()
            self._manager = manager
            self._given_up = asyncio.get_running_loop().create_future()

    async def lost(self) -> str:
        """Return when the link is gone, with the reason."""
        if self._connection is None or self._given_up is None:
            return "not connected to the broker"
        ends = {self._connection.ended, self._given_up}
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    def lose(self, why: str) -> None:
        """Give the link up; the connection may live on for others."""
        if self._given_up is not None and not self._given_up.done():
            self._given_up.set_result(why)

    async def close(self) -> None:
        """Let go of the connection; the last one closes it."""
        async with self._opening:
            await self._close()

    async def _close(self) -> None:
        self.lose("closed")
        connection, self._connection = self._connection, None
        manager, self._manager = self._manager, None
        if manager is not None and connection is not None:
            await manager.release(connection)
