"""NatsConnectionManager: the one connection that an event loop has to one broker."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from nats.aio.client import Client
from nats.aio.msg import Msg

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.providers.nats.config import NatsQueueConfig, Server
from app.queue.providers.nats.errors import connection_error, said, translated

CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
REQUEST_TIMEOUT = 10.0
PROBE_TIMEOUT = 5.0
LOOK_EVERY = 1.0


class TolerantClient(Client):
    """Reads what it would die of: the reader of a connection ends at a status that is not text.

    The server passes on what a foreign client put there, so one message of it would end every connection it comes over.
    """

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (UnicodeDecodeError, IndexError):
            return None


class NatsConnection:
    """A plain connection, from its handshake to its end. What to do then is the supervisor's affair, in the core."""

    def __init__(self, client: Client, server: Server, ended: asyncio.Future[str]) -> None:
        self.client = client
        self.jetstream = client.jetstream(timeout=REQUEST_TIMEOUT)
        self.server = server
        self.ended = ended
        """When it is lost: the reason, in words."""
        self.users = 0
        self._inbox = client.new_inbox()
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._watching: asyncio.Task[None] | None = None
        ended.add_done_callback(self._fail_waiting)

    async def start(self) -> None:
        """Receive the answers to requests, and look after the link."""
        await self.client.subscribe(f"{self._inbox}.*", cb=self._answered)
        self._watching = asyncio.create_task(self._watch())

    @property
    def is_open(self) -> bool:
        """True while messages can be exchanged, as far as is known."""
        return not self.ended.done() and self.client.is_connected

    async def request(self, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> Msg:
        """Publish, and wait for the answer: for as long as the link lives. Raises BrokerUnavailableError.

        nats-py's own would wait for its timeout on a link that is lost.
        """
        if not self.is_open:
            raise BrokerUnavailableError("not connected to the broker")
        number = str(next(self._numbers))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            with translated("request"):
                await self.client.publish(subject, payload, reply=f"{self._inbox}.{number}", headers=headers)
            return await answer
        finally:
            del self._waiting[number]

    async def probe(self, stream: str) -> None:
        """Have JetStream answer; give the link up if it doesn't. Raises BrokerError."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                await self.request(f"$JS.API.STREAM.INFO.{stream}")
        except TimeoutError:
            self.lose(f"the server has not answered for {PROBE_TIMEOUT:g} s")
            raise BrokerUnavailableError(f"the connection is silent: no answer in {PROBE_TIMEOUT:g} s") from None

    def lose(self, why: str) -> None:
        """Give the link up."""
        if not self.ended.done():
            self.ended.set_result(why)

    async def close(self) -> None:
        """Close it in bounded time, whatever state it is in."""
        self.lose("closed")
        if self._watching is not None:
            self._watching.cancel()
        await close(self.client)

    async def _watch(self) -> None:
        # nats-py does not always say that it has given a link up: it may hang in closing it, or fail.
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not self.client.is_connected:
                self.lose("the connection to the broker was lost")
                return

    async def _answered(self, answer: Msg) -> None:
        waiting = self._waiting.get(answer.subject.rpartition(".")[2])
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _fail_waiting(self, ended: asyncio.Future[str]) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(BrokerUnavailableError(ended.result()))


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
            async with self._lock:
                if connection.users == 0:
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
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await connect(self._config, server)
            except TimeoutError as error:
                errors.append(connection_error(error, server))
            except BrokerError as error:
                errors.append(error)
        # Of several servers' answers, a refusal says more than a silence.
        raise min(errors, key=lambda error: isinstance(error, BrokerUnavailableError))


async def connect(config: NatsQueueConfig, server: Server) -> NatsConnection:
    """Connect to one server, once. Raises BrokerError."""
    try:
        tls = config.tls() if server.tls else None
    except ValueError as error:
        raise BrokerRefusedError(f"ssl_context: {error}") from error

    def username() -> str:
        # nats-py asks for it when it is about to send it, and speaks TLS only if the server proposes that.
        if tls is not None and not tls.session_stats()["connect_good"]:
            raise BrokerRefusedError(f"NATS at {server.host}:{server.port}: the server does not speak TLS")
        return server.username

    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    errors: list[Exception] = []
    client = TolerantClient()

    async def on_error(error: Exception) -> None:
        errors[:] = [error]

    async def on_end() -> None:
        if not ended.done():
            error = client.last_error or (errors[0] if errors else None)
            ended.set_result("the connection to the broker was lost" + (f": {said(error)}" if error else ""))

    try:
        await client.connect(
            server.url,
            name=config.name,
            user=username,
            password=server.password or None,
            tls=tls,
            tls_hostname=server.host,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=config.heartbeat,
            max_outstanding_pings=2,
            pending_size=0,  # so that publish() never waits, for it would swallow the cancellation by a timeout
            error_cb=on_error,
            disconnected_cb=on_end,
        )
        username()
        connection = NatsConnection(client, server, ended)
        await connection.start()
    except BaseException as error:
        await close(client)
        if isinstance(error, Exception) and not isinstance(error, BrokerError):
            raise connection_error(errors[0] if errors else error, server) from error
        raise
    return connection


async def close(client: Client) -> None:
    """Close a connection in bounded time, whatever state it is in."""
    closing = asyncio.create_task(client.close())
    await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
    closing.cancel()  # a peer that takes nothing is not waited for
