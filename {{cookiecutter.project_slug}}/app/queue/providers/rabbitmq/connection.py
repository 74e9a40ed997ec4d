# The template's: an update changes it. Which files are yours: README.md.
"""RabbitMQConnectionManager: the two connections that one event loop has to one broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import cast

import aio_pika
import aio_pika.abc
import aiormq
import aiormq.abc
from pamqp.common import FieldTable

from app.queue.broker.connection import NOT_CONNECTED, BrokerConnection
from app.queue.broker.pool import ConnectionPool, PoolHealthCheck
from app.queue.broker.tls import reason_for
from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.errors import CONNECTION_ERRORS, connection_error, translated
from app.queue.settings.broker import Server

CLOSE_TIMEOUT = 1.0

# Every loss is logged once, by the supervisor, in words. The libraries add a traceback for each link and channel.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)
logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
# Frames that may wait for aiormq's writer. With its 10, who publishes beside ten others waits for the channel's lock:
# a fifth more CPU a message.
aiormq.Connection.FRAME_BUFFER_SIZE = 1000


class Purpose(StrEnum):
    """RabbitMQ blocks a connection that publishes while it is short of memory or disk: all of it, acks included.

    So what consumes does not share a connection with what publishes.
    """

    CONSUME = "consume"
    PUBLISH = "publish"


class RabbitMQConnection(BrokerConnection[RabbitMQQueueConfig]):
    """aio_pika's plain connection, of which little is used but the handshake; on it, aiormq's own channels."""

    def __init__(self, config: RabbitMQQueueConfig, server: Server, purpose: str) -> None:
        super().__init__(config, server)
        self.purpose = purpose
        self._raw: aio_pika.abc.AbstractConnection | None = None
        self._underlay: aiormq.abc.AbstractConnection | None = None
        self._silent = False
        self._closing: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        name: FieldTable = {"connection_name": f"{self.config.name} {self.purpose}"}
        url = self.config.url(self.server)
        self._raw = aio_pika.Connection(url, ssl_context=self.context, client_properties=name)
        await self._raw.connect()
        assert self._raw.transport is not None
        self._underlay = self._raw.transport.connection

    async def explained(self, error: Exception) -> Exception:
        if not isinstance(error, (*CONNECTION_ERRORS, aiormq.exceptions.AMQPException)):
            return error
        found = await reason_for(error, f"RabbitMQ at {self.server.address}", self.server, self.context, "amqps")
        return found or connection_error(error, self.server)

    @property
    def is_open(self) -> bool:
        return self._underlay is not None and self._underlay.is_opened and not self.ended.done()

    @property
    def is_blocked(self) -> bool:
        if self._underlay is None:
            return False
        # It waits for just that to end, and is the only public word on it: it is started, and must not have to wait.
        waiting = self._underlay.ready()
        try:
            waiting.send(None)
        except StopIteration:
            return False
        waiting.close()
        return True

    @property
    def frame_max(self) -> int:
        """Bytes of a frame at most. All headers of a message must fit into one."""
        return cast("aiormq.Connection", self.underlay).connection_tune.frame_max

    @property
    def underlay(self) -> aiormq.abc.AbstractConnection:
        """aiormq's connection under aio-pika's. Raises BrokerUnavailableError if it is closing or closed."""
        if self._underlay is None or not self.is_open:
            raise BrokerUnavailableError(NOT_CONNECTED)
        return self._underlay

    @asynccontextmanager
    async def scratch_channel(self) -> AsyncIterator[aiormq.abc.AbstractChannel]:
        """A channel for a question or two.

        aiormq's own: aio-pika's channels leave two callbacks behind on their connection, each time (aio-pika 10.2).
        """
        channel = await self.underlay.channel(publisher_confirms=False)
        try:
            yield channel
        finally:
            await channel.close()

    async def close_channel(self, channel: aiormq.abc.AbstractChannel) -> None:
        """Close it in bounded time.

        The answer comes behind all that was sent on it, so no ack is cut off: aiormq drops what it has not written yet
        when a connection is closed.
        """
        closing = asyncio.create_task(self._until_closed(channel))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.wait([closing], timeout=0 if self._silent else CLOSE_TIMEOUT)
        if not closing.done():
            self._silent = True  # the next one need not wait for an answer that does not come

    async def ask(self, queue: str) -> None:  # noqa: ARG002 - one answer is for all of them
        """Opens and closes a channel: the cheapest question that only a living broker answers."""
        with translated("health check"):
            async with self.scratch_channel():
                pass

    async def probe(self, queue: str) -> None:
        try:
            await super().probe(queue)
        except BrokerUnavailableError as error:
            why = f"the {self.purpose} connection is silent: {error}"
            self.lose(why)
            await self.close()
            raise BrokerUnavailableError(why) from error

    async def close(self) -> None:
        self.lose("closed")
        if self._raw is not None:
            with suppress(BrokerError), translated("closing"):
                async with asyncio.timeout(0.1 if self._silent else CLOSE_TIMEOUT):
                    await self._raw.close()

    async def _until_closed(self, channel: aiormq.abc.AbstractChannel) -> None:
        """Until it is answered, or the connection ends. Never cancelled: that would leave the channel open for good."""
        with suppress(BrokerError), translated("closing"):
            await channel.close()
        self._silent = False


class RabbitMQConnectionManager(ConnectionPool[RabbitMQConnection]):
    """One for each Purpose."""

    config: RabbitMQQueueConfig

    def make(self, server: Server) -> RabbitMQConnection:
        return RabbitMQConnection(self.config, server, self.purpose)


class RabbitMQHealthCheck(PoolHealthCheck):
    """A round trip over each connection of the loop."""

    pool = RabbitMQConnectionManager
    purposes = tuple(Purpose)
