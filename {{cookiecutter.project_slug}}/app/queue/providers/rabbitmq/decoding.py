# The template's: an update changes it. Which files are yours: README.md.
"""Makes pamqp read what it would refuse: text that is not UTF-8, times that no calendar has, tables too deep in tables.

RabbitMQ passes all of them on as they are. pamqp raises on them in the reader of the *connection*, which ends it: the
message returns to the head of its queue, and ends the next connection, for ever. So one message of a foreign client
would stop every queue of the service. Only entries of pamqp's public decoder tables are replaced.
"""

from __future__ import annotations

import struct
from typing import Any

from pamqp import decode

from app.queue.messages.headers import DEEPEST


def short_str(value: bytes) -> tuple[int, str]:
    """A short string, as latin-1 where it is not UTF-8."""
    end = value[0] + 1
    try:
        return end, value[1:end].decode()
    except UnicodeDecodeError:
        return end, value[1:end].decode("latin-1")


def timestamp(value: bytes) -> tuple[int, Any]:
    """A time, or None where there is no such time."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        if len(value) < 8:
            raise
        return 8, None


def field_table(value: bytes, depth: int = 0) -> tuple[int, dict[str, Any]]:
    """A table, whose keys may be anything. Its values are read by the decoders of pamqp's table."""
    end = _end_of(value)
    offset = 4
    table: dict[str, Any] = {}
    while offset < end:
        key_size, key = short_str(value[offset : min(offset + 256, end)])
        key_end = offset + key_size
        consumed, table[key] = _embedded(value[key_end:end], depth)
        offset = key_end + consumed
    return end, table


def field_array(value: bytes, depth: int = 0) -> tuple[int, list[Any]]:
    """A list of values."""
    end = _end_of(value)
    offset = 4
    items = []
    while offset < end:
        consumed, item = _embedded(value[offset:end], depth)
        items.append(item)
        offset += consumed
    return end, items


def _embedded(value: bytes, depth: int) -> tuple[int, Any]:
    """A value behind the letter of its type. What stands too deep in others is None, and not looked at."""
    nested = {b"F": field_table, b"A": field_array}.get(value[:1])
    if nested is None:
        return decode.embedded_value(value)
    if depth >= DEEPEST:
        return 1 + _end_of(value[1:]), None
    consumed, found = nested(value[1:], depth + 1)
    return 1 + consumed, found


def _end_of(value: bytes) -> int:
    (length,) = struct.unpack_from(">I", value)
    if 4 + length > len(value):
        raise ValueError("a field table or array exceeds the data there is")
    return int(4 + length)


def be_tolerant() -> None:
    """Replace the decoders, for the whole process."""
    decode.METHODS.update(shortstr=short_str, timestamp=timestamp, table=field_table)
    decode.TABLE_MAPPING.update({b"T": timestamp, b"F": field_table, b"A": field_array})
