"""Makes pamqp read what it would refuse: text that is not UTF-8, and times that no calendar has.

RabbitMQ passes both on as they are. pamqp raises on them in the reader of the *connection*, which ends it: the message
returns to the head of its queue, and ends the next connection, for ever. So one message of a foreign client would stop
every queue of the service. Only entries of pamqp's public decoder tables are replaced.
"""

from __future__ import annotations

import struct
from typing import Any

from pamqp import decode


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


def field_table(value: bytes) -> tuple[int, dict[str, Any]]:
    """A table, whose keys may be anything. Its values are read by the decoders of pamqp's table."""
    (length,) = struct.unpack_from(">I", value)
    end = 4 + length
    if end > len(value):
        raise ValueError("field table length exceeds available data")
    offset = 4
    table: dict[str, Any] = {}
    while offset < end:
        key_size, key = short_str(value[offset : min(offset + 256, end)])
        key_end = offset + key_size
        consumed, table[key] = decode.embedded_value(value[key_end:end])
        offset = key_end + consumed
    return end, table


def be_tolerant() -> None:
    """Replace the decoders, for the whole process."""
    decode.METHODS.update(shortstr=short_str, timestamp=timestamp, table=field_table)
    decode.TABLE_MAPPING.update({b"T": timestamp, b"F": field_table})
