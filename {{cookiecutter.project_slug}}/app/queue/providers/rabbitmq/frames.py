# The template's: an update changes it. Which files are yours: README.md.
"""Reads what a broker sends as aiormq and pamqp do, at a third of the price: a delivery is three frames.

aiormq asks the stream three times for each frame; here it is asked for all that is there. pamqp looks up each field's
type by its name, and copies what is left after each field; here the frames of a delivery and a confirm are read
directly, and any other, and whatever is not as it should be, is left to pamqp and its errors. To do without this file,
leave out the call of `read_fast()` in `__init__.py`.
"""

from __future__ import annotations

import asyncio
import struct
from functools import lru_cache
from typing import Any

import aiormq.connection
import pamqp.frame
from aiormq import spec
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from pamqp import decode
from pamqp.body import ContentBody
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader

HEAD = struct.Struct(">BHI")
HEADER = struct.Struct(">HHQH")
TAG_AND_BITS = struct.Struct(">qB")
AT_ONCE = 65_536
OTHER_PROTOCOL = b"AMQP"
"""What a broker begins with that does not speak this version."""
METHOD, CONTENT_HEADER, CONTENT_BODY = 1, 2, 3
END = 0xCE
DELIVER, ACK = struct.pack(">I", spec.Basic.Deliver.index), struct.pack(">I", spec.Basic.Ack.index)
Frame = tuple[int, int, Any]
"""Bytes, the channel, and the frame."""

pamqps_own = pamqp.frame.unmarshal


class FrameReceiver(aiormq.connection.FrameReceiver):
    """The frames of a stream, one after the other."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self._data = b""
        self._at = 0

    async def get_frame(self) -> Frame:
        """The next one. Raises AMQPConnectionError when the stream ends, and InvalidFrameError."""
        while (size := self._size()) > len(self._data) - self._at:
            try:
                more = await self.reader.read(AT_ONCE)
            except OSError as error:
                raise AMQPConnectionError(f"Server communication error: {error!r}") from error
            if not more:
                cause = asyncio.IncompleteReadError(self._data[self._at :], size)  # by which `broken_off` knows it
                raise AMQPConnectionError("Server connection unexpectedly closed") from cause
            self._data = self._data[self._at :] + more
            self._at = 0
            if not self.started and len(self._data) >= len(OTHER_PROTOCOL):
                self.started = True
                if self._data.startswith(OTHER_PROTOCOL):
                    raise ProtocolSyntaxError("Unexpected AMQP protocol header")
        data, self._at = self._data[self._at : self._at + size], self._at + size
        try:
            return pamqp.frame.unmarshal(data)
        except PAMQPException as error:
            raise InvalidFrameError(str(error)) from error

    __anext__ = get_frame

    def _size(self) -> int:
        """Bytes of the next frame, or those from which that can be told."""
        head = self._data[self._at + 3 : self._at + 7]
        return int.from_bytes(head) + 8 if len(head) == 4 else 8


def unmarshal(data_in: bytes) -> Frame:
    """One frame. Raises what pamqp raises."""
    data = data_in
    if len(data) > 8 and data[-1] == END:
        kind, channel, size = HEAD.unpack_from(data)
        if size == len(data) - 8:
            if kind == CONTENT_BODY:
                return len(data), channel, ContentBody(data[7:-1])
            try:
                found = _method(data) if kind == METHOD else _header(data) if kind == CONTENT_HEADER else None
            except (ValueError, IndexError, struct.error):
                found = None
            if found is not None:
                return len(data), channel, found
    return pamqps_own(data)


def _method(data: bytes) -> Any:
    """A delivery or a confirm; None for any other, and for one that does not end where it should."""
    if data[7:11] == DELIVER:
        deliver = spec.Basic.Deliver()
        deliver.consumer_tag, at = _text(data, 11)
        deliver.delivery_tag, bits = TAG_AND_BITS.unpack_from(data, at)
        deliver.redelivered = bool(bits & 1)
        deliver.exchange, at = _text(data, at + 9)
        deliver.routing_key, at = _text(data, at)
        return deliver if at == len(data) - 1 else None
    if data[7:11] == ACK and len(data) == 21:
        tag, bits = TAG_AND_BITS.unpack_from(data, 11)
        return spec.Basic.Ack(tag, bool(bits & 1))
    return None


def _header(data: bytes) -> ContentHeader | None:
    """A message's properties; None if they don't end where they should."""
    class_id, weight, body_size, flags = HEADER.unpack_from(data, 7)
    if flags & 1:
        return None  # there are more flags
    properties = spec.Basic.Properties()
    at = 21
    value: Any
    for name, kind in _properties(flags):
        if kind == "shortstr":
            value, at = _text(data, at)
        else:
            size, value = decode.by_type(data[at:-1], kind)
            at += size
        setattr(properties, name, value)
    header = ContentHeader(weight, body_size, properties)
    header.class_id = class_id
    return header if at == len(data) - 1 else None


@lru_cache(1000)
def _properties(flags: int) -> list[tuple[str, str]]:
    """The names and types of the properties that are there."""
    known = spec.Basic.Properties
    return [(name, getattr(known, f"_{name}")) for name in known.__slots__ if flags & known.flags[name]]


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A short string, and where it ends. Raises ValueError if it is not UTF-8: what it is then, its decoder says."""
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end


def read_fast() -> None:
    """Let aiormq read by this, in the whole process."""
    pamqp.frame.unmarshal = unmarshal
    aiormq.connection.FrameReceiver = FrameReceiver  # type: ignore[misc] # a class is replaced by one of its kind
