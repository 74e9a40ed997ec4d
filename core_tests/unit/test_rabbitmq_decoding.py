"""What pamqp would refuse to read, ending the connection."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from pamqp import commands, decode, encode

import app.queue.providers.rabbitmq  # noqa: F401 - replaces the decoders
from app.queue.messages.headers import DEEPEST


@pytest.mark.parametrize("seconds", [2**62, 2**63, 2**64 - 1])
def test_a_time_that_no_calendar_has_is_none(seconds: int) -> None:
    assert decode.by_type(struct.pack(">Q", seconds), "timestamp") == (8, None)
    assert decode.embedded_value(b"T" + struct.pack(">Q", seconds)) == (9, None)


def test_text_that_is_not_utf_8_is_latin_1() -> None:
    assert decode.by_type(b"\x02\xff\xe4rest", "shortstr") == (3, "ÿä")


def test_a_tables_key_may_be_anything() -> None:
    inner = b"\x02\xff\xe4" + b"b\x07" + b"\x01k" + b"T" + struct.pack(">Q", 2**63)
    assert decode.by_type(struct.pack(">I", len(inner)) + inner, "table") == (4 + len(inner), {"ÿä": 7, "k": None})


def test_what_is_right_is_read_as_before() -> None:
    table: dict[str, Any] = {"text": "ü", "number": 7, "nested": {"deep": [1, "two", None, {"x": True}]}}
    assert decode.by_type(encode.field_table(table), "table") == (len(encode.field_table(table)), table)
    properties = commands.Basic.Properties(message_id="id", correlation_id="ü", headers={"a": {"b": 1}})
    again = commands.Basic.Properties()
    again.unmarshal(*_flags_and_data(properties.marshal()))
    assert (again.message_id, again.correlation_id, again.headers) == ("id", "ü", {"a": {"b": 1}})


@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_what_is_too_deep_to_be_read_is_none(kind: bytes) -> None:
    key = b"\x01k" if kind == b"F" else b""
    inner = key + b"b\x07"
    for _ in range(2000):
        inner = key + kind + struct.pack(">I", len(inner)) + inner
    table = b"\x01d" + kind + struct.pack(">I", len(inner)) + inner + b"\x01n" + b"b\x08"
    found: Any
    consumed, found = decode.by_type(struct.pack(">I", len(table)) + table, "table")
    assert (consumed, found["n"]) == (4 + len(table), 8)
    value, depth = found["d"], 0
    while value is not None:
        value, depth = value["k"] if kind == b"F" else value[0], depth + 1
    assert depth == DEEPEST


def test_a_table_that_is_cut_off_is_still_an_error() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        decode.by_type(struct.pack(">I", 100) + b"\x01k", "table")


def _flags_and_data(marshalled: bytes) -> tuple[int, bytes]:
    return struct.unpack(">H", marshalled[:2])[0], marshalled[2:]
