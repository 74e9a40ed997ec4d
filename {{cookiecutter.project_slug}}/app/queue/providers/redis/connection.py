# The template's: an update changes it. Which files are yours: README.md.
"""RedisConnectionManager: the one connection that an event loop shares, and the one on which a consumer reads."""

from __future__ import annotations

import asyncio
import logging
import time

import redis.exceptions as redis

from app.queue.broker.connection import forget
from app.queue.broker.pool import ConnectionPool, PoolHealthCheck
from app.queue.broker.tls import shaken
from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.errors import connection_error, translated
from app.queue.settings.broker import Server

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0
OLDEST = (6, 2)
_warned: set[str] = set()  # the servers of which it has been said that they write nothing to their disk


class RedisConnection(RedisClient):
    """It is lost, too, if a command is not answered for `patience` seconds (two heartbeats, if that is 0).

    If none is under way for a heartbeat, it asks.
    """

    def __init__(self, config: RedisQueueConfig, server: Server, patience: float = 0.0) -> None:
        super().__init__(config, server)
        self._patience = patience or 2 * config.heartbeat

    async def connect(self) -> None:
        await super().connect()
        await self.call("PING")
        self._tasks.append(asyncio.create_task(self._watch()))

    async def explained(self, error: Exception) -> Exception:
        if isinstance(error, BrokerError):  # who waits for an answer is told no more than that it won't come
            error = self.error or error
        if isinstance(error, redis.RedisError | TimeoutError | ValueError):
            return connection_error(error, self.server, met=shaken(self.context))
        return error

    async def ask(self, queue: str) -> None:  # noqa: ARG002 - one answer is for all of them
        """A ping. The connection on which a consumer reads is answered every second, and watched for that."""
        with translated("health check"):
            await self.call("PING", timeout=None)

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
            elif idle >= self.config.heartbeat:
                idle = 0.0
                asyncio.ensure_future(self.call("PING", timeout=None)).add_done_callback(forget)


class MasterConnection(RedisConnection):
    """One to a server to keep messages in."""

    async def connect(self) -> None:
        await super().connect()
        await _check(self)


class RedisConnectionManager(ConnectionPool[MasterConnection]):
    """Takes the first server that answers and is a master."""

    config: RedisQueueConfig
    in_order = True

    def make(self, server: Server) -> MasterConnection:
        return MasterConnection(self.config, server)


class RedisHealthCheck(PoolHealthCheck):
    """A round trip over the connection of the loop."""

    pool = RedisConnectionManager


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
