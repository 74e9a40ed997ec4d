"""RabbitMQConnectionManager: the two connections that one event loop has to one broker."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import ClassVar
from weakref import WeakKeyDictionary, WeakSet

import aio_pika
import aio_pika.abc
import aiormq
import aiormq.abc

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.errors import CONNECTION_ERRORS, translated
from app.queue.providers.rabbitmq.tls import explained

CONNECT_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
PROBE_TIMEOUT = 5.0
PROBE_SPACING = 4.0

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


_Key = tuple[tuple[str, ...], str]


class RabbitMQConnectionManager:
    """Opens a connection when it is first needed, shares it between the queues of a loop, closes it after the last.

    Plain connections: what to do when one is lost is the supervisor's affair, in the core.
    """

    _by_loop: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, dict[_Key, RabbitMQConnectionManager]]] = (
        WeakKeyDictionary()
    )

    def __init__(self, config: RabbitMQQueueConfig) -> None:
        self._config = config
        self._connections: dict[Purpose, aio_pika.abc.AbstractConnection] = {}
        self._locks = {purpose: asyncio.Lock() for purpose in Purpose}
        self._users: dict[Purpose, int] = dict.fromkeys(Purpose, 0)
        self._silent: WeakSet[aio_pika.abc.AbstractConnection] = WeakSet()
        self._closing: set[asyncio.Task[None]] = set()
        self._probed_at = 0.0

    @classmethod
    def of(cls, config: RabbitMQQueueConfig) -> RabbitMQConnectionManager:
        """The manager of the running loop for this queue's broker."""
        managers = cls._by_loop.setdefault(asyncio.get_running_loop(), {})
        key = (tuple(str(url) for url in config.urls()), repr(config.ssl_context))
        if key not in managers:
            managers[key] = cls(config)
        return managers[key]

    async def acquire(self, purpose: Purpose) -> aio_pika.abc.AbstractConnection:
        """An open connection, until `release()`. Raises BrokerError."""
        async with self._locks[purpose]:
            connection = self._connections.get(purpose)
            if connection is None or not is_open(connection):
                connection = self._connections[purpose] = await self._connect(purpose)
            self._users[purpose] += 1
            return connection

    async def release(
        self,
        purpose: Purpose,
        connection: aio_pika.abc.AbstractConnection,
        channel: aiormq.abc.AbstractChannel | None,
    ) -> None:
        """The opposite of `acquire()`. Closes the channel that was used, and after the last one the connection."""
        try:
            if channel is not None and not channel.is_closed:
                # Its answer comes behind all that was sent on it, so no ack is cut off: aiormq drops what it has not
                # written yet when a connection is closed.
                closing = asyncio.create_task(self._close_channel(connection, channel))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
                await asyncio.wait([closing], timeout=0 if connection in self._silent else CLOSE_TIMEOUT)
                if not closing.done():
                    self._silent.add(connection)  # the next one need not wait for an answer that does not come
        finally:
            # Without the lock, which another queue may hold for as long as it tries to connect.
            self._users[purpose] -= 1
            if self._users[purpose] == 0 and (last := self._connections.pop(purpose, None)) is not None:
                await close(last, 0.1 if last in self._silent else CLOSE_TIMEOUT)

    async def _close_channel(
        self, connection: aio_pika.abc.AbstractConnection, channel: aiormq.abc.AbstractChannel
    ) -> None:
        """Until it is answered, or the connection ends. Never cancelled: that would leave the channel open for good."""
        with suppress(BrokerError), translated("closing"):
            await channel.close()
        self._silent.discard(connection)

    async def probe(self) -> None:
        """Have the broker answer on every open connection; give up one that doesn't. Raises BrokerError.

        The queues of a loop share the connections, so it is enough if one of them asks.
        """
        if time.monotonic() - self._probed_at < PROBE_SPACING:
            return
        self._probed_at = time.monotonic()
        for purpose, connection in list(self._connections.items()):
            if not is_open(connection) or is_blocked(connection):
                continue
            asked_at = time.monotonic()
            try:
                with translated("health check"):
                    async with asyncio.timeout(PROBE_TIMEOUT), scratch_channel(connection):
                        pass
            except BrokerUnavailableError as error:
                if time.monotonic() - asked_at > PROBE_TIMEOUT + 1.0:
                    continue  # a handler blocked this loop meanwhile, so it was not the broker that was silent
                await close(connection)
                raise BrokerUnavailableError(f"the {purpose} connection is silent: {error}") from error

    async def _connect(self, purpose: Purpose) -> aio_pika.abc.AbstractConnection:
        urls = self._config.urls()
        random.shuffle(urls)
        try:
            tls = self._config.tls()
        except ValueError as error:
            raise BrokerRefusedError(f"ssl_context: {error}") from error
        errors: list[BrokerError] = []
        for url in urls:
            context = tls if url.scheme == "amqps" else None
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    return await aio_pika.connect(
                        url,
                        ssl_context=context,
                        client_properties={"connection_name": f"{self._config.name} {purpose}"},
                    )
            except asyncio.CancelledError:
                raise
            except (*CONNECTION_ERRORS, aiormq.exceptions.AMQPException) as error:
                errors.append(await explained(error, url, context))
        # Of several nodes' answers, a refusal says more than a silence.
        raise min(errors, key=lambda error: isinstance(error, BrokerUnavailableError))


@asynccontextmanager
async def scratch_channel(connection: aio_pika.abc.AbstractConnection) -> AsyncIterator[aiormq.abc.AbstractChannel]:
    """A channel for a question or two.

    aiormq's own: aio-pika's channels leave two callbacks behind on their connection, each time (aio-pika 10.2).
    """
    channel = await underlay(connection).channel(publisher_confirms=False)
    try:
        yield channel
    finally:
        await channel.close()


def underlay(connection: aio_pika.abc.AbstractConnection) -> aiormq.abc.AbstractConnection:
    """aiormq's connection under aio-pika's. Raises BrokerUnavailableError if it is closing or closed."""
    if connection.transport is None:
        raise BrokerUnavailableError("not connected to the broker")
    return connection.transport.connection


def is_open(connection: aio_pika.abc.AbstractConnection) -> bool:
    """True while frames can be exchanged, as far as is known."""
    transport = connection.transport
    return not connection.is_closed and transport is not None and transport.connection.is_opened


def is_blocked(connection: aio_pika.abc.AbstractConnection) -> bool:
    """True while the broker has said that it accepts no messages on this connection.

    `ready()` waits for just that to end, and is the only public word on it: it is started, and must not have to wait.
    """
    transport = connection.transport
    if transport is None:
        return False
    waiting = transport.connection.ready()
    try:
        waiting.send(None)
    except StopIteration:
        return False
    waiting.close()
    return True


async def close(connection: aio_pika.abc.AbstractConnection, timeout: float = CLOSE_TIMEOUT) -> None:
    """Close a connection in bounded time, whatever state it is in."""
    with suppress(BrokerError), translated("closing"):
        async with asyncio.timeout(timeout):
            await connection.close()
