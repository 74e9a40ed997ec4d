"""RedisConnectionManager: what an event loop shares of its connection to one server."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import ClassVar
from weakref import WeakKeyDictionary

import redis.exceptions as redis

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.providers.redis.client import CONNECT_TIMEOUT, REQUEST_TIMEOUT, RedisClient, forget
from app.queue.providers.redis.config import RedisQueueConfig, Server
from app.queue.providers.redis.errors import connection_error, translated

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
PROBE_TIMEOUT = REQUEST_TIMEOUT
OLDEST = (6, 2)
_warned: set[str] = set()
"""The servers of which it has been said that they write nothing to their disk."""


class RedisConnection(RedisClient):
    """A plain connection that knows when it is lost. What to do then is the supervisor's affair, in the core.

    It is lost, too, if a command is not answered for `patience` seconds; if none is under way for a heartbeat, it asks.
    """

    def __init__(self, server: Server, config: RedisQueueConfig, patience: float) -> None:
        try:
            tls = config.tls() if server.tls else None
        except ValueError as error:
            raise BrokerRefusedError(f"ssl_context: {error}") from error
        super().__init__(server, tls)
        self.server = server
        self.users = 0
        self._tls = tls
        self._heartbeat = config.heartbeat
        self._patience = patience
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, once. Raises BrokerError."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.connect()
                await self.call("PING")
        except BaseException as error:
            await self.close()
            if isinstance(error, BrokerError):  # who waits for an answer is told no more than that it won't come
                error = self.error or error
            if isinstance(error, redis.RedisError | TimeoutError | ValueError):
                met = self._tls is not None and bool(self._tls.session_stats()["connect_good"])
                raise connection_error(error, self.server, met=met) from error
            raise
        self._watching = asyncio.create_task(self._watch())

    async def probe(self) -> None:
        """Have the server answer; give the connection up if it doesn't. Raises BrokerError."""
        asked_at = time.monotonic()
        with translated("health check"):
            try:
                await self.call("PING", timeout=PROBE_TIMEOUT)
            except TimeoutError:
                if time.monotonic() - asked_at > PROBE_TIMEOUT + 1.0:
                    return  # a handler blocked this loop meanwhile, so it was not the server that was silent
                self.lose(f"the server has not answered for {PROBE_TIMEOUT:g} s")
                raise

    async def close(self) -> None:
        """As for the client."""
        if self._watching is not None:
            self._watching.cancel()
        await super().close()

    async def _watch(self) -> None:
        # Time is counted in looks: a handler may block this loop for long, and then answers that came are not read yet.
        idle = waited = 0.0
        since: float | None = None
        while self.is_open:
            await asyncio.sleep(LOOK_EVERY)
            waited = waited + LOOK_EVERY if since == self.waits_since else 0.0
            since = self.waits_since
            idle = idle + LOOK_EVERY if since is None else 0.0
            if since is not None and waited > self._patience:
                self.lose(f"the server has not answered for {time.monotonic() - since:.0f} s")
            elif idle >= self._heartbeat:
                idle = 0.0
                asyncio.ensure_future(self.call("PING", timeout=None)).add_done_callback(forget)


class RedisConnectionManager:
    """Opens the connection when it is first needed, shares it between a loop's queues, closes it after the last."""

    _by_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, RedisConnectionManager]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, config: RedisQueueConfig) -> None:
        self._config = config
        self._connection: RedisConnection | None = None
        self._lock = asyncio.Lock()

    @classmethod
    def of(cls, config: RedisQueueConfig) -> RedisConnectionManager:
        """The manager of the running loop for this queue's server."""
        managers = cls._by_loop.setdefault(asyncio.get_running_loop(), {})
        passwords = [server.password for server in config.servers()]
        key = repr((config.servers(), passwords, config.ssl_context, config.heartbeat))
        if key not in managers:
            managers[key] = cls(config)
        return managers[key]

    async def acquire(self) -> RedisConnection:
        """An open connection, until `release()`. Raises BrokerError."""
        async with self._lock:
            if self._connection is None or not self._connection.is_open:
                self._connection = await self._connect()
            self._connection.users += 1
            return self._connection

    async def release(self, connection: RedisConnection) -> None:
        """The opposite of `acquire()`: after the last one, the connection is closed."""
        connection.users -= 1
        if connection.users == 0:
            if self._connection is connection:
                self._connection = None  # it knows its loop, and so would keep it for good
            await connection.close()

    async def probe(self) -> None:
        """Have the server answer over the connection, if there is one. Raises BrokerError."""
        if self._connection is not None and self._connection.is_open:
            await self._connection.probe()

    async def _connect(self) -> RedisConnection:
        errors: list[BrokerError] = []
        for server in self._config.servers():
            try:
                connection = RedisConnection(server, self._config, 2 * self._config.heartbeat)
                await connection.open()
                try:
                    await _check(connection)
                except BaseException:
                    await connection.close()
                    raise
            except BrokerError as error:
                errors.append(error)
            else:
                return connection
        # Of several servers' answers, a refusal says more than a silence.
        raise min(errors, key=lambda error: isinstance(error, BrokerUnavailableError))


async def _check(connection: RedisConnection) -> None:
    """Raise BrokerError if the server is not one to keep messages in."""
    where = f"Redis at {connection.server.address}"
    with translated(f"{where}: INFO"):
        told: bytes = await connection.call("INFO")
    info = dict(line.split(":", 1) for line in told.decode(errors="replace").splitlines() if ":" in line)
    version = info.get("redis_version", "0")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        raise BrokerRefusedError(f"{where}: its version is {version}, and this service needs 6.2 or later")
    if info.get("cluster_enabled") == "1":
        raise BrokerRefusedError(
            f"{where}: it is in cluster mode, which this service does not support; use a server, or a master and its "
            "replicas, with cluster-enabled no"
        )
    if info.get("loading") == "1":
        raise BrokerUnavailableError(f"{where}: it is still loading its data")
    if info.get("role", "master") != "master":
        raise BrokerUnavailableError(f"{where}: it is a replica; broker_url must name the master, or list it, too")
    policy = info.get("maxmemory_policy", "")
    if policy.startswith("allkeys") and info.get("maxmemory") != "0":
        raise BrokerRefusedError(
            f"{where}: with maxmemory-policy {policy} it throws messages away when its memory is full; set "
            "maxmemory-policy noeviction (a full server then refuses new messages, and that is told)"
        )
    if info.get("aof_enabled") == "0" and connection.server.address not in _warned:
        _warned.add(connection.server.address)
        logger.warning(
            "%s: appendonly is off, so a restart of Redis loses all messages since its last snapshot, if it makes any; "
            "docs/redis.md says what to set",
            where,
        )
