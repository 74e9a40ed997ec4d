# The template's: an update changes it. Which files are yours: README.md.
"""ConnectionPool: one connection for each event loop and broker, whose users are counted, and its health check."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, Self, cast
from weakref import WeakKeyDictionary

from app.queue.broker.connection import Connection
from app.queue.clock import chance
from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import QueueHealthCheck
from app.queue.settings.broker import BrokerConfig, Server

logger = logging.getLogger(__name__)
_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, ConnectionPool[Any]]] = WeakKeyDictionary()


class ConnectionPool(ABC, Generic[Connection]):
    """Opens a connection when it is first needed, shares it between a loop's queues, closes it after the last user.

    A loop that needs two connections to one broker gives each a `purpose`.
    """

    in_order: ClassVar[bool] = False
    """True: of several servers the first that answers is taken. Else they are tried in any order, to share the load."""

    def __init__(self, config: BrokerConfig, purpose: str = "") -> None:
        self.config = config
        self.purpose = purpose
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    @abstractmethod
    def make(self, server: Server) -> Connection:
        """A connection to `server`, not yet opened. Raises BrokerError."""

    @classmethod
    def of(cls, config: BrokerConfig, purpose: str = "") -> Self:
        """The pool of the running loop for this queue's broker."""
        pools = _by_loop.setdefault(asyncio.get_running_loop(), {})
        key = (cls, purpose, config.broker_key())
        if key not in pools:
            pools[key] = cls(config, purpose)
        return cast("Self", pools[key])

    async def acquire(self) -> Connection:
        """An open connection, until `release()`. Raises BrokerError."""
        async with self._lock:
            if self._connection is None or not self._connection.is_open:
                self._connection = await self._connect()
            self._connection.users += 1
            return self._connection

    async def release(self, connection: Connection) -> None:
        """The opposite of `acquire()`: after the last one, the connection is closed."""
        # Without the lock, which another queue may hold for as long as it tries to connect.
        connection.users -= 1
        if connection.users == 0:
            if self._connection is connection:
                self._connection = None  # it knows its loop, and so would keep it for good
                if not self._lock.locked():
                    self._lock = asyncio.Lock()  # and so does one that somebody had to wait for
            await connection.close()

    async def probe(self, queue: str) -> None:
        """Have the server answer over the connection, if there is one. Raises BrokerError."""
        if self._connection is not None and self._connection.is_open:
            await self._connection.probe(queue)

    async def _connect(self) -> Connection:
        servers = self.config.servers()
        if not self.in_order:
            chance.shuffle(servers)
        errors: list[BrokerError] = []
        for server in servers:
            try:
                connection = self.make(server)
                await connection.open()
            except BrokerError as error:
                errors.append(error)
            else:
                path = f", {key} {server.path!r}" if (key := self.config.url_rules.path_key) else ""
                logger.info("connected to %s%s", server.address, path)
                return connection
        # Of several servers' answers, a refusal says more than a silence.
        raise min(errors, key=lambda error: isinstance(error, BrokerUnavailableError))


class PoolHealthCheck(QueueHealthCheck):
    """Asks over the connections that the loop has to the queue's broker, and opens none."""

    config: BrokerConfig
    pool: ClassVar[type[ConnectionPool[Any]]]
    purposes: ClassVar[tuple[str, ...]] = ("",)

    async def probe(self) -> None:
        for purpose in self.purposes:
            await self.pool.of(self.config, purpose).probe(self.queue_name)
