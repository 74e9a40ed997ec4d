"""Content encodings: what they mean, and how far they are undone."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from app.queue.interfaces import Message
from app.queue.messages.encoding import MAX_PARTS, content_encoding, readable_body
from app.queue.messages.outcome import InvalidMessageError, Reason

TEXT = b'{"type": "work", "text": "' + b"x" * 1000 + b'"}'


def message(body: bytes, encoding: str = "gzip") -> Message:
    return Message(body, "id", content_encoding=encoding)


def reason(body: bytes, encoding: str = "gzip", limit: int = 10_000) -> Reason:
    with pytest.raises(InvalidMessageError) as caught:
        readable_body(message(body, encoding), limit)
    return caught.value.reason


@pytest.mark.parametrize(
    ("attribute", "headers", "expected"),
    [
        ("", {}, ""),
        ("gzip", {}, "gzip"),
        ("", {"content-encoding": "gzip"}, "gzip"),
        ("", {"CONTENT-Encoding": "gzip"}, "gzip"),
        ("utf-8", {"content-encoding": "gzip"}, "utf-8"),
        ("", {"content-encoding": 7}, ""),
        ("", {"content-encoding": "x" * 300}, ""),
        ("", {"content_encoding": "gzip", "encoding": "gzip"}, ""),
    ],
)
def test_the_brokers_property_counts_and_else_the_header(
    attribute: str, headers: dict[str, object], expected: str
) -> None:
    assert content_encoding(Message(b"", "id", headers, None, attribute)) == expected


@pytest.mark.parametrize("name", ["", " ", "Identity", "BINARY", "utf-8", "UTF_16", "US-ASCII", "koi8-u", "utf-8-sig"])
def test_a_charset_means_none(name: str) -> None:
    assert readable_body(message(TEXT, name), 10_000) is TEXT


@pytest.mark.parametrize("name", ["br", "zstd", "base64", "hex", "zip", "bz2", "aliases", "ü", "no such", "gzip, gzip"])
def test_any_other_is_a_fact_about_the_message(name: str) -> None:
    assert reason(TEXT, name) is Reason.BAD_ENCODING


def test_what_is_behind_the_end_of_the_compressed_is_zeros_or_another_part() -> None:
    assert readable_body(message(gzip.compress(TEXT) + b"\0" * 100), 10_000) == TEXT
    assert readable_body(message(gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])), 10_000) == TEXT
    assert reason(gzip.compress(TEXT) + b"more") is Reason.BAD_ENCODING
    assert reason(zlib.compress(TEXT) + zlib.compress(TEXT), "deflate") is Reason.BAD_ENCODING
    assert reason(gzip.compress(b"") * (MAX_PARTS + 1)) is Reason.BAD_ENCODING


def test_every_cut_and_every_wrong_byte_is_told() -> None:
    whole = gzip.compress(TEXT)
    for size in range(len(whole)):
        assert reason(whole[:size]) is Reason.BAD_ENCODING
    assert reason(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]) is Reason.BAD_ENCODING


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_the_limit_is_exact_before_and_after(encoding: str) -> None:
    body = (gzip.compress if encoding == "gzip" else zlib.compress)(TEXT)
    assert readable_body(message(body, encoding), len(TEXT)) == TEXT
    assert reason(body, encoding, len(TEXT) - 1) is Reason.TOO_LARGE
    assert reason(TEXT, "", len(TEXT) - 1) is Reason.TOO_LARGE
    assert readable_body(message(TEXT, ""), len(TEXT)) is TEXT


@pytest.mark.parametrize("parts", [1, 50])
def test_a_bomb_takes_no_more_memory_than_a_message_may(parts: int) -> None:
    limit = 1_000_000
    bomb = gzip.compress(b"x" * (200_000_000 // parts)) * parts
    tracemalloc.start()
    assert reason(bomb, limit=limit) is Reason.TOO_LARGE
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * limit
