# The template's: an update changes it. Which files are yours: README.md.
"""Channels: one for each consumer, publisher and reader, on the connections that their loop shares."""

from __future__ import annotations

import asyncio
import re
import struct
import sys
from dataclasses import replace
from functools import partial
from typing import Any, cast

import aiormq
import aiormq.abc
import aiormq.exceptions
from aiormq import spec

from app.queue.broker.connection import NOT_CONNECTED
from app.queue.broker.errors import unconfirmed
from app.queue.broker.link import BrokerLink
from app.queue.broker.turns import Seldom, Turns
from app.queue.clock import now
from app.queue.errors import (
    BrokerUnavailableError,
    MessageTooLargeError,
    PublisherBlockedError,
    UnroutableError,
)
from app.queue.interfaces import Message
from app.queue.messages.encoding import encoding_headers
from app.queue.messages.headers import DROPPED, cut, own_headers, wire_size
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose, RabbitMQConnection, RabbitMQConnectionManager
from app.queue.providers.rabbitmq.errors import reply, translated
from app.queue.providers.rabbitmq.orders import FAST_REPLY
from app.queue.providers.rabbitmq.outgoing import Outgoing

OPEN_TIMEOUT = 10.0
NEXT_CHANNEL, MAX_NEXT_CHANNEL = 5.0, 120.0
"""Seconds between the channels that a queue costs which goes on refusing messages: at first, and at most."""
FRAME_BUFFER = 100
"""Frames, three a message, that aiormq reads at a time. With its default of 10 it goes to and fro for each message."""
PROPERTIES_ROOM = 3072
"""Bytes of a frame that are kept for what stands beside a message's headers: at most nine texts of 255."""
BODY_LIMIT = re.compile(r"larger than configured max size (\d+)")
BODY_LIMIT_FOR = 60.0
"""Seconds for which a limit is believed that the broker has told. The operator may raise it."""
PASSED_ON = (
    *("content_type", "priority", "correlation_id", "reply_to"),
    *("timestamp", "message_type", "app_id"),
)
"""Properties that stay with a message, besides its id and content encoding. Not among them: those of `orders.py`."""


class Channel(BrokerLink[RabbitMQConnection]):
    """A link with a channel of its own.

    aiormq's, on aio-pika's connection: aio-pika's layer over it would cost half as much again for each message.
    """

    def __init__(self, config: RabbitMQQueueConfig, purpose: Purpose) -> None:
        super().__init__(RabbitMQConnectionManager, config, purpose)
        self._confirms = purpose is Purpose.PUBLISH
        self.channel: aiormq.Channel | None = None

    @property
    def underlay(self) -> aiormq.abc.AbstractChannel:
        """The open channel. Raises BrokerUnavailableError."""
        if self.channel is None or not self.is_open:
            raise BrokerUnavailableError(NOT_CONNECTED)
        return self.channel

    async def opened(self, connection: RabbitMQConnection) -> None:
        with translated("opening a channel"):
            async with asyncio.timeout(OPEN_TIMEOUT):
                await connection.underlay.ready()
                channel = await connection.underlay.channel(
                    publisher_confirms=self._confirms,
                    on_return_raises=self._confirms,
                    frame_buffer_size=FRAME_BUFFER,
                )
        assert isinstance(channel, aiormq.Channel)
        self.channel = channel
        channel.closing.add_done_callback(partial(self._on_close, channel))

    async def closing(self, connection: RabbitMQConnection) -> None:
        channel, self.channel = self.channel, None
        if channel is not None and not channel.is_closed:
            await connection.close_channel(channel)

    def _on_close(self, channel: aiormq.Channel, closing: asyncio.Future[Any]) -> None:
        error = None if closing.cancelled() else closing.exception()
        if channel is self.channel:
            said = f": {reply(error)}" if isinstance(error, Exception) and (error.args or error.__cause__) else ""
            self.lose(f"the connection to the broker was lost{said}")


class BodyTooLargeError(MessageTooLargeError):
    """It is the body that the broker does not take, so fewer headers don't help."""


class PublishChannel(Channel):
    """A channel with publisher confirms."""

    def __init__(self, config: RabbitMQQueueConfig) -> None:
        super().__init__(config, Purpose.PUBLISH)
        self._turns = Turns()
        self._outgoing: Outgoing | None = None
        self._headers_max = 0
        self._next_channel = Seldom(NEXT_CHANNEL, MAX_NEXT_CHANNEL)
        self._body_max = sys.maxsize
        """The broker's `max_message_size` (RabbitMQ 4: 16 MiB), once it has told it."""
        self._body_max_until = 0.0

    async def opened(self, connection: RabbitMQConnection) -> None:
        await super().opened(connection)
        self._headers_max = connection.frame_max - PROPERTIES_ROOM
        self._outgoing = Outgoing(cast("aiormq.Channel", self.channel))

    async def closing(self, connection: RabbitMQConnection) -> None:
        if self._outgoing is not None:
            self._outgoing.end()
        await super().closing(connection)

    async def put(self, queue: str, message: Message) -> None:
        """Return once the broker has confirmed that `message` is in `queue`, on disk.

        Raises BrokerUnavailableError if it surely was not sent, UnroutableError if there is no such queue,
        MessageTooLargeError if its headers are more than a frame holds or its body is more than the broker takes, and
        PublishError otherwise.
        """
        outgoing = self._outgoing
        if outgoing is None or self.channel is None:
            raise BrokerUnavailableError(NOT_CONNECTED)
        if self.is_blocked:
            raise PublisherBlockedError(
                "the broker accepts no messages for now (memory or disk alarm); nothing was sent"
            )
        if message.headers and (size := wire_size(message.headers)) > self._headers_max:
            raise MessageTooLargeError(  # the broker would close the connection, for all that are on it
                f"queue {queue!r}: the message has {size} bytes of headers, and a frame holds {self._headers_max}"
            )
        if len(message.body) > self._body_max and now() < self._body_max_until:
            raise self._body_too_large(queue, message)
        # aiormq finds a returned message by its id, so two with the same id must not be on their way together.
        await self._turns.take(message.message_id)
        try:
            await self._put(outgoing, queue, message)
        except (TypeError, ValueError, OverflowError, struct.error):
            if message.properties is None:
                raise  # what the caller gave can't be sent
            # A foreign publisher sent something that the library can read but not write: go on without it.
            await self._put(outgoing, queue, _plain(message))
        finally:
            self._turns.give_back(message.message_id)

    async def _put(self, outgoing: Outgoing, queue: str, message: Message) -> None:
        properties = properties_of(message)
        try:
            await outgoing.publish(message.body, routing_key=queue, properties=properties, mandatory=True)
        except aiormq.exceptions.PublishError:
            raise UnroutableError(f"the broker has no queue {queue!r}; the message went nowhere") from None
        except aiormq.exceptions.DeliveryError:
            self._refused(queue)
            raise BrokerUnavailableError(f"the broker refused the message for queue {queue!r}") from None
        except aiormq.exceptions.ChannelInvalidStateError:
            raise BrokerUnavailableError(NOT_CONNECTED) from None
        except BaseException as error:
            if (lost := translated.of(error, "publishing")) is error:
                raise
            # The broker closes the channel for it, so that this one costs the others on it what they have on their way.
            if (told := BODY_LIMIT.search(str(lost))) and len(message.body) > int(told[1]):
                self._body_max, self._body_max_until = int(told[1]), now() + BODY_LIMIT_FOR
                raise self._body_too_large(queue, message) from error
            raise unconfirmed(lost) from error
        self._next_channel.over(queue)

    def _body_too_large(self, queue: str, message: Message) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"queue {queue!r}: the message has {len(message.body)} bytes, and the broker takes {self._body_max}"
        )

    def _refused(self, queue: str) -> None:
        """Give the channel up, now and then.

        A quorum queue whose leader has died refuses until there is another. A channel that was refused so is refused
        for as long as the dead node is down (RabbitMQ 3.10): only the next one is told of the other. But a full queue
        refuses too, and a new channel costs the others on it what they have on their way.
        """
        if self._next_channel.due(queue):
            self.lose(f"the broker refused a message for queue {queue!r}")


def properties_of(message: Message) -> spec.Basic.Properties:
    """A message's properties as they are sent: persistent, with what stays of a foreign publisher's."""
    headers = dict(message.headers) or None
    kept = {} if message.properties is None else {name: getattr(message.properties, name) for name in PASSED_ON}
    if not kept.get("content_type"):
        kept["content_type"] = "application/json"
    if kept.get("reply_to") == FAST_REPLY:
        kept["reply_to"] = None
    return spec.Basic.Properties(
        message_id=message.message_id,
        headers=headers,
        delivery_mode=2,
        content_encoding=message.content_encoding or None,
        **kept,
    )


def _plain(message: Message) -> Message:
    headers = own_headers(message.headers) | encoding_headers(message.headers)
    headers[DROPPED] = "all that were not ours: they can't be written"
    return replace(
        message,
        message_id=cut(message.message_id, 255),
        headers=headers,
        properties=None,
        content_encoding=cut(message.content_encoding, 255),
    )
