# The template's: an update changes it. Which files are yours: README.md.
"""Outgoing: publishing over a channel, with one write for all that is published in one turn of the event loop.

aiormq's `basic_publish` has a lock, a timeout, two callbacks and a write for each message, and encodes anew what is the
same for all of them. This keeps the same books, which aiormq's reader looks into when a confirm comes: the channel's
public `delivery_tag`, `confirmations` and `message_id_delivery_tag`. So nothing else may publish on such a channel. To
do without this file, let `PublishChannel` call `outgoing.channel.basic_publish` instead of `outgoing.publish`.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
import sys
from collections import deque
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import aiormq
import aiormq.abc
import aiormq.exceptions
import pamqp.frame
from aiormq import spec
from aiormq.channel import Returning
from pamqp.header import ContentHeader

LARGE = 16_384
"""Bytes of a write from which on the next one waits for room in the socket, so that a broker that reads slowly gets no
more than it takes. Of smaller writes there are no more than callers, who wait for a confirm each."""
FRAME = struct.Struct(">BHI")
"""What a frame begins with: its kind (2: a message's header, 3: its body), the channel, the number of bytes."""
HEADER = struct.Struct(">HHQHB")
"""A header: class 60 (basic), 0, the body's bytes, which properties there are, and the length of the first of them."""
USUAL = 1 << 15 | 1 << 12 | 1 << 7
"""The properties `content_type`, `delivery_mode` and `message_id`."""
_names = [name for name in spec.Basic.Properties.__slots__ if not spec.Basic.Properties.flags[name] & USUAL]
_rare = attrgetter(*_names)
NO_RARE = _rare(spec.Basic.Properties())
FRAME_END = b"\xce"


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A message that is not yet written."""

    head: bytes
    body: bytes
    message_id: str
    confirmation: asyncio.Future[Any]


class Outgoing:
    """What goes out over one channel, which has publisher confirms. It ends with the channel."""

    def __init__(self, channel: aiormq.Channel) -> None:
        self.channel = channel
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._methods: dict[str, bytes] = {}
        self._waiting: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._writing = asyncio.create_task(self._write())
        channel.closing.add_done_callback(self._on_close)

    async def publish(
        self, body: bytes, *, routing_key: str, properties: spec.Basic.Properties, mandatory: bool = True
    ) -> aiormq.abc.ConfirmationFrameType | None:
        """Return when the broker has confirmed it. Raises what aiormq's `basic_publish` raises.

        ChannelInvalidStateError means that it was not sent.
        """
        if not self._is_open:
            raise aiormq.exceptions.ChannelInvalidStateError("the channel is closed")
        if not properties.message_id:
            properties.message_id = secrets.token_hex(16)  # a message that comes back is found by its id
        head = self._method(routing_key, mandatory=mandatory) + self._header(properties, len(body))
        confirmation = self._loop.create_future()
        self._waiting.append(_Waiting(head, body, properties.message_id, confirmation))
        self._some.set()
        try:
            confirmed: aiormq.abc.ConfirmationFrameType = await confirmation
            return confirmed
        finally:
            self.channel.message_id_delivery_tag.pop(properties.message_id, None)

    def _method(self, routing_key: str, *, mandatory: bool) -> bytes:
        """The frame that is the same for all messages of a queue."""
        if (frame := self._methods.get(routing_key)) is None or not mandatory:
            method = spec.Basic.Publish(exchange="", routing_key=routing_key, mandatory=mandatory)
            frame = pamqp.frame.marshal(method, self.channel.number)
            if mandatory:
                self._methods[routing_key] = frame
        return frame

    def _header(self, properties: spec.Basic.Properties, size: int) -> bytes:
        """The frame of a message's properties. The usual ones are put together at a quarter of the price."""
        kind, message_id = (properties.content_type or "").encode(), (properties.message_id or "").encode()
        usual = properties.delivery_mode == 2 and 0 < len(kind) < 256 and 0 < len(message_id) < 256
        if not usual or _rare(properties) != NO_RARE:
            return pamqp.frame.marshal(ContentHeader(properties=properties, body_size=size), self.channel.number)
        header = HEADER.pack(60, 0, size, USUAL, len(kind)) + b"%b\x02%c%b" % (kind, len(message_id), message_id)
        return FRAME.pack(2, self.channel.number, len(header)) + header + FRAME_END

    @property
    def _is_open(self) -> bool:
        """Whether anything may be sent. Behind a channel's close, RabbitMQ ends the whole connection for it.

        When the broker closes the channel, aiormq first takes it from this list, then answers, and then says so.
        """
        return not self._ended and self.channel.connection.channels.get(self.channel.number) is self.channel

    def end(self) -> None:
        """Send nothing more. To be called before the channel is closed: what waits was not sent."""
        self._ended = True
        for message in self._waiting:
            if not message.confirmation.done():
                message.confirmation.set_exception(aiormq.exceptions.ChannelInvalidStateError("the channel is closed"))
        self._waiting.clear()

    async def _write(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                if payload := self._noted():
                    drained = self._loop.create_future() if len(payload) >= LARGE else None
                    await self.channel.write_queue.put(aiormq.abc.ChannelFrame(payload, False, drained))
                    if drained is not None:
                        await drained

    def _noted(self) -> bytes:
        """The frames of what waits, up to LARGE bytes and one message; their confirms are in the books then.

        A message for which nobody waits any more is not sent.
        """
        channel, frames, size = self.channel, [], 0
        most = channel.max_content_size if channel.max_content_size > 0 else sys.maxsize
        if not self._is_open:
            self.end()
        while self._waiting and size < LARGE:
            message = self._waiting.popleft()
            if message.confirmation.done():
                continue
            channel.delivery_tag += 1
            channel.confirmations[channel.delivery_tag] = message.confirmation
            channel.message_id_delivery_tag[message.message_id] = channel.delivery_tag
            frames.append(message.head)
            for at in range(0, len(message.body), most):
                part = message.body[at : at + most]
                frames += FRAME.pack(3, channel.number, len(part)), part, FRAME_END
            size += len(message.head) + len(message.body)
        return b"".join(frames)

    def _on_close(self, closing: asyncio.Future[Any]) -> None:
        """End whoever waits: what was written may have landed, and the rest was not sent."""
        self._writing.cancel()
        self.end()
        why = None if closing.cancelled() else closing.exception()
        for confirmation in list(self.channel.confirmations.values()):
            if not (confirmation.done() or isinstance(confirmation, Returning)):
                confirmation.set_exception(why if isinstance(why, Exception) else ConnectionError("closed"))
