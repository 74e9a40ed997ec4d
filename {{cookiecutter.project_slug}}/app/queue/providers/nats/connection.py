"""NatsConnectionManager: the one connection that an event loop has to one broker."""

from __future__ import annotations

import asyncio
import random
import time
from typing import ClassVar
from weakref import WeakKeyDictionary

import nats.errors
from nats.aio.msg import Msg

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.providers.nats.client import REQUEST_TIMEOUT, NatsClient
from app.queue.providers.nats.config import NatsQueueConfig, Server
from app.queue.providers.nats.errors import connection_error, said, translated

CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
PROBE_TIMEOUT = 5.0
LOOK_EVERY = 1.0


class NatsConnection:
    """A plain connection, from its handshake to its end. What to do then is the supervisor's affair, in the core."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = NatsClient()
        self.jetstream = self.client.jetstream(timeout=REQUEST_TIMEOUT)
        self.users = 0
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """When it is lost: the reason, in words."""
        self._error: Exception | None = None
        self._watching: asyncio.Task[None] | None = None

    async def open(self, config: NatsQueueConfig) -> None:
        """Connect, once. Raises BrokerError."""
        try:
            tls = config.tls() if self.server.tls else None
        except ValueError as error:
            raise BrokerRefusedError(f"ssl_context: {error}") from error

        def username() -> str:
            # nats-py asks for it when it is about to send it, and speaks TLS only if the server proposes that.
            if tls is not None and not tls.session_stats()["connect_good"]:
                raise BrokerRefusedError(f"NATS at {self.server.host}:{self.server.port}: it does not speak TLS")
            return self.server.username

        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.client.connect(
                    self.server.url,
                    name=config.name,
                    user=username,
                    password=self.server.password or None,
                    tls=tls,
                    tls_hostname=self.server.host,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    ping_interval=config.heartbeat,
                    max_outstanding_pings=2,
                    pending_size=0,  # so that publish() never waits, for it would swallow the cancellation by a timeout
                    error_cb=self._on_error,
                    disconnected_cb=self._on_end,
                )
                username()
                await self.client.listen()
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception) and not isinstance(error, BrokerError):
                met = tls is not None and bool(tls.session_stats()["connect_good"])
                raise connection_error(self._error or error, self.server, met=met) from error
            raise
        self._watching = asyncio.create_task(self._watch())

    @property
    def is_open(self) -> bool:
        """True while messages can be exchanged, as far as is known."""
        return not self.ended.done() and self.client.is_connected

    async def request(self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> Msg:
        """Publish, and return the answer, however long it takes. Raises BrokerError, or NoRespondersError."""
        self.check()
        try:
            return await self.client.request(subject, payload, timeout=None, headers=headers)
        except nats.errors.NoRespondersError:
            raise
        except nats.errors.Error as error:
            raise BrokerUnavailableError(said(error)) from error

    def check(self) -> None:
        """Raise BrokerUnavailableError if nothing can be sent."""
        if not self.is_open:
            raise BrokerUnavailableError("not connected to the broker")

    async def probe(self, stream: str) -> None:
        """Have JetStream answer; give the link up if it doesn't. Raises BrokerError."""
        asked_at = time.monotonic()
        with translated("health check"):
            try:
                await self.client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=PROBE_TIMEOUT)
            except TimeoutError:
                if time.monotonic() - asked_at > PROBE_TIMEOUT + 1.0:
                    return  # a handler blocked this loop meanwhile, so it was not the server that was silent
                self.lose(f"the server has not answered for {PROBE_TIMEOUT:g} s")
                raise

    def lose(self, why: str) -> None:
        """Give the link up."""
        if not self.ended.done():
            self.ended.set_result(why)
            self.client.end_requests(BrokerUnavailableError(why))

    async def close(self) -> None:
        """Close it in bounded time, whatever state it is in."""
        self.lose("closed")
        if self._watching is not None:
            self._watching.cancel()
        closing = asyncio.create_task(self.client.close())
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
        self.client.abort()
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)

    async def _on_error(self, error: Exception) -> None:
        self._error = error
        self.client.note(error)

    async def _on_end(self) -> None:
        error = self.client.last_error or self._error
        self.lose("the connection to the broker was lost" + (f": {said(error)}" if error else ""))

    async def _watch(self) -> None:
        # nats-py does not always say that it has given a link up: it may hang in closing it, or fail.
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self.client.is_connected:
                await self._on_end()
                return


class NatsConnectionManager:
    """Opens the connection when it is first needed, shares it between a loop's queues, closes it after the last."""

    _by_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, NatsConnectionManager]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, config: NatsQueueConfig) -> None:
        self._config = config
        self._connection: NatsConnection | None = None
        self._lock = asyncio.Lock()

    @classmethod
    def of(cls, config: NatsQueueConfig) -> NatsConnectionManager:
        """The manager of the running loop for this queue's broker."""
        managers = cls._by_loop.setdefault(asyncio.get_running_loop(), {})
        passwords = [server.password for server in config.servers()]
        key = repr((config.servers(), passwords, config.ssl_context, config.heartbeat))
        if key not in managers:
            managers[key] = cls(config)
        return managers[key]

    async def acquire(self) -> NatsConnection:
        """An open connection, until `release()`. Raises BrokerError."""
        async with self._lock:
            if self._connection is None or not self._connection.is_open:
                self._connection = await self._connect()
            self._connection.users += 1
            return self._connection

    async def release(self, connection: NatsConnection) -> None:
        """The opposite of `acquire()`: after the last one, the connection is closed."""
        connection.users -= 1
        if connection.users == 0:
            if self._connection is connection:
                self._connection = None  # it knows its loop, and so would keep it for good
            await connection.close()

    async def probe(self, stream: str) -> None:
        """Have JetStream answer over the connection, if there is one. Raises BrokerError."""
        if self._connection is not None and self._connection.is_open:
            await self._connection.probe(stream)

    async def _connect(self) -> NatsConnection:
        servers = self._config.servers()
        random.shuffle(servers)
        errors: list[BrokerError] = []
        for server in servers:
            connection = NatsConnection(server)
            try:
                await connection.open(self._config)
            except BrokerError as error:
                errors.append(error)
            else:
                return connection
        # Of several servers' answers, a refusal says more than a silence.
        raise min(errors, key=lambda error: isinstance(error, BrokerUnavailableError))
