"""Channels: one for each consumer, publisher and reader, on the connections that their loop shares."""

from __future__ import annotations

import asyncio
import struct
import time
from dataclasses import replace
from functools import partial
from typing import Any

import aio_pika.abc
import aiormq
import aiormq.abc
import aiormq.exceptions
from aiormq import spec

from app.queue.errors import (
    BrokerUnavailableError,
    PublisherBlockedError,
    PublishError,
    UnroutableError,
)
from app.queue.headers import DROPPED, cut, own_headers
from app.queue.interfaces import Message
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import (
    Purpose,
    RabbitMQConnectionManager,
    is_blocked,
    is_open,
    underlay,
)
from app.queue.providers.rabbitmq.errors import reply, translated, translation

OPEN_TIMEOUT = 10.0
NEXT_CHANNEL, MAX_NEXT_CHANNEL = 5.0, 120.0
"""Seconds between the channels that a queue costs which goes on refusing messages: at first, and at most."""
FRAME_BUFFER = 100
"""Frames, three a message, that aiormq reads at a time. With its default of 10 it goes to and fro for each message."""
LARGE = 16_384
"""Bytes of a body from which on a publish waits for room in the socket, so that a broker that reads slowly gets no more
than it takes. Smaller ones don't: aiormq would hold its channel's lock for two more turns of the event loop for each.
How many can be on their way is then up to their callers, who wait for a confirm, and to the circuit breaker.
"""
PASSED_ON = (
    "content_type",
    "content_encoding",
    "priority",
    "correlation_id",
    "reply_to",
    "timestamp",
    "message_type",
    "app_id",
)
"""Properties that stay with a message. Not among them: `expiration`, which would make it vanish from a DLQ, and
`user_id`, which RabbitMQ lets only that user send."""


class Channel:
    """A channel that can be opened again after it was lost.

    aiormq's own, on aio-pika's connection: aio-pika's layer over it would cost half as much again for each message.
    """

    def __init__(self, config: RabbitMQQueueConfig, purpose: Purpose) -> None:
        self._config = config
        self._purpose = purpose
        self._manager: RabbitMQConnectionManager | None = None
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._channel: aiormq.Channel | None = None
        self._end: asyncio.Future[str] | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """True while frames can be exchanged, as far as is known."""
        return (
            self._channel is not None
            and not self._channel.is_closed
            and self._end is not None
            and not self._end.done()
            and self._connection is not None
            and is_open(self._connection)
        )

    @property
    def is_blocked(self) -> bool:
        """True while the broker accepts no messages on the connection."""
        return self._connection is not None and is_blocked(self._connection)

    @property
    def connection(self) -> aio_pika.abc.AbstractConnection:
        """The connection that the channel is on."""
        if self._connection is None:
            raise BrokerUnavailableError("not connected to the broker")
        return self._connection

    @property
    def underlay(self) -> aiormq.abc.AbstractChannel:
        """The open channel."""
        if self._channel is None or not self.is_open:
            raise BrokerUnavailableError("not connected to the broker")
        return self._channel

    async def open(self) -> None:
        """Connect if need be, and open the channel; return at once if it is open. Raises BrokerError."""
        if self.is_open:
            return
        async with self._opening:
            if self.is_open:
                return
            await self._close()
            manager = RabbitMQConnectionManager.of(self._config)
            self._connection = await manager.acquire(self._purpose)
            self._manager = manager
            confirms = self._purpose is Purpose.PUBLISH
            try:
                with translated("opening a channel"):
                    async with asyncio.timeout(OPEN_TIMEOUT):
                        connection = underlay(self._connection)
                        await connection.ready()
                        channel = await connection.channel(
                            publisher_confirms=confirms, on_return_raises=confirms, frame_buffer_size=FRAME_BUFFER
                        )
                assert isinstance(channel, aiormq.Channel)
            except BaseException:
                await self._close()
                raise
            self._channel = channel
            self._end = asyncio.get_running_loop().create_future()
            self._channel.closing.add_done_callback(partial(self._on_close, self._end))

    async def lost(self) -> str:
        """Return when the channel is gone, with the reason."""
        if self._end is None:
            return "not connected to the broker"
        return await asyncio.shield(self._end)

    def lose(self, why: str) -> None:
        """Give the channel up."""
        if self._end is not None and not self._end.done():
            self._end.set_result(why)

    async def close(self) -> None:
        """Close the channel, and the connection if nobody else uses it."""
        async with self._opening:
            await self._close()

    async def _close(self) -> None:
        self.lose("closed")
        channel, self._channel = self._channel, None
        connection, self._connection = self._connection, None
        manager, self._manager = self._manager, None
        if manager is not None and connection is not None:
            await manager.release(self._purpose, connection, channel)

    @staticmethod
    def _on_close(end: asyncio.Future[str], closing: asyncio.Future[Any]) -> None:
        if end.done():
            return
        error = None if closing.cancelled() else closing.exception()
        said = f": {reply(error)}" if isinstance(error, Exception) and (error.args or error.__cause__) else ""
        end.set_result(f"the connection to the broker was lost{said}")


class PublishChannel(Channel):
    """A channel with publisher confirms."""

    def __init__(self, config: RabbitMQQueueConfig) -> None:
        super().__init__(config, Purpose.PUBLISH)
        self._in_flight: dict[str, list[asyncio.Future[None]]] = {}
        self._refusing: dict[str, tuple[float, float]] = {}
        """Queues that refuse messages: when the channel is given up for it next, and the seconds to the time after."""

    async def put(self, queue: str, message: Message) -> None:
        """Return once the broker has confirmed that `message` is in `queue`, on disk.

        Raises BrokerUnavailableError if it surely was not sent, UnroutableError if there is no such queue, and
        PublishError otherwise.
        """
        channel = self._channel
        if channel is None:
            raise BrokerUnavailableError("not connected to the broker")
        if self.is_blocked:
            raise PublisherBlockedError(
                "the broker accepts no messages for now (memory or disk alarm); nothing was sent"
            )
        # aiormq finds a returned message by its id, so two with the same id must not be on their way together.
        while message.message_id in self._in_flight:
            waiters = self._in_flight[message.message_id]
            waiters.append(asyncio.get_running_loop().create_future())
            await waiters[-1]
        self._in_flight[message.message_id] = []
        try:
            await self._put(channel, queue, message)
        except (TypeError, ValueError, OverflowError, struct.error):
            if message.properties is None:
                raise  # what the caller gave can't be sent
            # A foreign publisher sent something that the library can read but not write: go on without it.
            await self._put(channel, queue, _plain(message))
        finally:
            for waiter in self._in_flight.pop(message.message_id):
                if not waiter.done():
                    waiter.set_result(None)

    async def _put(self, channel: aiormq.Channel, queue: str, message: Message) -> None:
        properties = properties_of(message)
        try:
            await channel.basic_publish(
                message.body, routing_key=queue, properties=properties, mandatory=True, wait=len(message.body) >= LARGE
            )
        except aiormq.exceptions.PublishError:
            raise UnroutableError(f"the broker has no queue {queue!r}; the message went nowhere") from None
        except aiormq.exceptions.DeliveryError:
            self._refused(queue)
            raise BrokerUnavailableError(f"the broker refused the message for queue {queue!r}") from None
        except aiormq.exceptions.ChannelInvalidStateError:
            raise BrokerUnavailableError("not connected to the broker") from None
        except BaseException as error:
            if (lost := translation("publishing", error)) is error:
                raise
            raise PublishError(f"{lost}; the broker had not confirmed", may_have_landed=True) from error
        if self._refusing:
            self._refusing.pop(queue, None)

    def _refused(self, queue: str) -> None:
        """Give the channel up, now and then.

        A quorum queue whose leader has died refuses until there is another. A channel that was refused so is refused
        for as long as the dead node is down (RabbitMQ 3.10): only the next one is told of the other. But a full queue
        refuses too, and a new channel costs the others on it what they have on their way.
        """
        now = time.monotonic()
        due, pause = self._refusing.get(queue, (now, NEXT_CHANNEL))
        if now >= due:
            self._refusing[queue] = (now + pause, min(2 * pause, MAX_NEXT_CHANNEL))
            self.lose(f"the broker refused a message for queue {queue!r}")


def properties_of(message: Message) -> spec.Basic.Properties:
    """A message's properties as they are sent: persistent, with what stays of a foreign publisher's."""
    headers = dict(message.headers) or None
    if message.properties is None:
        return spec.Basic.Properties(
            content_type="application/json", headers=headers, delivery_mode=2, message_id=message.message_id
        )
    kept = {name: getattr(message.properties, name) for name in PASSED_ON}
    if not kept.get("content_type"):
        kept["content_type"] = "application/json"
    return spec.Basic.Properties(message_id=message.message_id, headers=headers, delivery_mode=2, **kept)


def _plain(message: Message) -> Message:
    headers = own_headers(message.headers)
    headers[DROPPED] = "all that were not ours: they can't be written"
    return replace(message, message_id=cut(message.message_id, 255), headers=headers, properties=None)
