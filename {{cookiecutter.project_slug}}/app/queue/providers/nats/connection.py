# The template's: an update changes it. Which files are yours: README.md.
"""NatsConnectionManager: the one connection that an event loop has to one broker."""

from __future__ import annotations

import asyncio

import nats.errors
from nats.aio.msg import Msg

from app.queue.broker.connection import BrokerConnection
from app.queue.broker.pool import ConnectionPool, PoolHealthCheck
from app.queue.broker.tls import shaken
from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.providers.nats.client import REQUEST_TIMEOUT, NatsClient
from app.queue.providers.nats.config import NatsQueueConfig, stream_name
from app.queue.providers.nats.errors import connection_error, said, translated
from app.queue.settings.broker import Server

CLOSE_TIMEOUT = 1.0
LOOK_EVERY = 1.0


class NatsConnection(BrokerConnection[NatsQueueConfig]):
    """nats-py's client, which never connects again."""

    def __init__(self, config: NatsQueueConfig, server: Server) -> None:
        super().__init__(config, server)
        self.client = NatsClient()
        self.jetstream = self.client.jetstream(timeout=REQUEST_TIMEOUT)
        self._error: Exception | None = None
        self._watching: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        server, tls = self.server, self.context

        def username() -> str:
            # nats-py asks for it when it is about to send it, and speaks TLS only if the server proposes that.
            if tls is not None and not shaken(tls):
                raise BrokerRefusedError(f"NATS at {server.address}: it does not speak TLS")
            return server.username

        await self.client.connect(
            self.config.url(server),
            name=self.config.name,
            user=username,
            password=server.password or None,
            tls=tls,
            tls_hostname=server.host,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=self.config.heartbeat,
            max_outstanding_pings=2,
            pending_size=0,  # so that publish() never waits, for it would swallow the cancellation by a timeout
            error_cb=self._on_error,
            disconnected_cb=self._on_end,
        )
        username()
        await self.client.listen()
        self._watching = asyncio.create_task(self._watch())

    async def explained(self, error: Exception) -> Exception:
        if isinstance(error, BrokerError):
            return error
        return connection_error(self._error or error, self.server, met=shaken(self.context))

    @property
    def is_open(self) -> bool:
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

    async def ask(self, queue: str) -> None:
        """For the state of the queue's stream: a server may be there, and its JetStream not."""
        with translated("health check"):
            await self.client.request(f"$JS.API.STREAM.INFO.{stream_name(queue)}", timeout=None)

    def lose(self, why: str) -> None:
        if not self.ended.done():
            super().lose(why)
            self.client.end_requests(BrokerUnavailableError(why))

    async def close(self) -> None:
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


class NatsConnectionManager(ConnectionPool[NatsConnection]):
    """The servers of a cluster are all the same, so any will do."""

    config: NatsQueueConfig

    def make(self, server: Server) -> NatsConnection:
        return NatsConnection(self.config, server)


class NatsHealthCheck(PoolHealthCheck):
    """A round trip to JetStream over the connection of the loop."""

    pool = NatsConnectionManager
