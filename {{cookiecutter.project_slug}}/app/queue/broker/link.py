# The template's: an update changes it. Which files are yours: README.md.
"""BrokerLink: a share in the connection of the loop, for a consumer, a publisher, a processor or a reader."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Generic

from app.queue.broker.connection import NOT_CONNECTED, Connection
from app.queue.broker.pool import ConnectionPool
from app.queue.errors import BrokerUnavailableError
from app.queue.interfaces import PublisherState


class BrokerLink(Generic[Connection]):
    """It can be opened again after it was lost, and given up without the connection.

    A provider whose links hold more than a share (a channel, a session) overrides `opened()` and `closing()`.
    """

    def __init__(self, pool: type[ConnectionPool[Connection]], config: Any, purpose: str = "") -> None:
        self._pool_class = pool
        self._config = config
        self._purpose = purpose
        self._pool: ConnectionPool[Connection] | None = None
        self._connection: Connection | None = None
        self._given_up: asyncio.Future[str] | None = None
        self._ready = False
        self._changing = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """True while messages can be exchanged, as far as is known."""
        connection, given_up = self._connection, self._given_up
        return self._ready and connection is not None and connection.is_open and not (given_up and given_up.done())

    @property
    def answers(self) -> bool:
        """True while it is open, and the server has answered lately."""
        return self.is_open and self._connection is not None and not self._connection.is_silent

    @property
    def state(self) -> PublisherState:
        """That of the connection, whatever the link has besides: a place that refuses may cost the link its channel."""
        connection = self._connection
        if connection is None or not connection.is_open or connection.is_silent:
            return "down"
        return "blocked" if connection.is_blocked else "ready"

    @property
    def is_blocked(self) -> bool:
        """True while the broker says that it accepts no messages over the link."""
        return self._connection is not None and self._connection.is_blocked

    @property
    def connection(self) -> Connection:
        """The connection. Raises BrokerUnavailableError if the link is lost."""
        if self._connection is None or not self.is_open:
            raise BrokerUnavailableError(NOT_CONNECTED)
        return self._connection

    async def open(self) -> None:
        """Connect if need be; return at once if that is so already. Raises BrokerError."""
        if self.is_open:
            return
        async with self._changing:
            if self.is_open:
                return
            await self._close()
            pool = self._pool_class.of(self._config, self._purpose)
            self._connection = await pool.acquire()
            self._pool = pool
            self._given_up = asyncio.get_running_loop().create_future()
            try:
                await self.opened(self._connection)
            except BaseException:  # a cancellation, too
                await self._close()
                raise
            self._ready = True

    async def lost(self) -> str:
        """Return when the link is gone, with the reason."""
        if self._connection is None or self._given_up is None:
            return NOT_CONNECTED
        ends = {self._connection.ended, self._given_up}
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()

    def lose(self, why: str) -> None:
        """Give the link up; the connection may live on for others."""
        if self._given_up is not None and not self._given_up.done():
            self._given_up.set_result(why)

    async def close(self) -> None:
        """Let go of the connection; the last one closes it. May be called twice, and from many sides."""
        async with self._changing:
            await self._close()

    async def opened(self, connection: Connection) -> None:
        """Open what the link has besides its share in `connection`. Raises BrokerError."""

    async def closing(self, connection: Connection) -> None:
        """Close that, in bounded time."""

    async def _close(self) -> None:
        self.lose("closed")
        self._ready = False
        connection, self._connection = self._connection, None
        pool, self._pool = self._pool, None
        if pool is None or connection is None:
            return
        try:
            await self.closing(connection)
        finally:
            await pool.release(connection)


class Linked(Generic[Connection]):
    """For what has a link of its own: a consumer, a publisher, a processor or a reader."""

    config: Any
    pool: ClassVar[type[ConnectionPool[Any]]]  # whose connections it shares

    def make_link(self) -> BrokerLink[Connection]:
        """A link, not yet opened. A provider whose links are more than a share says so here."""
        return BrokerLink(self.pool, self.config)
