"""Requests as no client should send them, each with the answers that it may get."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from core_tests.tools.raw_http import chunk, head

LIMIT = 100_000
"""The queue's `max_message_bytes`."""
GONE = 0
"""The connection was closed without an answer."""
MESSAGE = b'{"type": "work"}'
CHUNKED = b"Transfer-Encoding: chunked"

Pieces = Iterable[bytes | float]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, with the right key, and with an id that no other request has."""

    path: str
    key: bytes
    message_id: bytes

    def head(self, *lines: bytes, version: str = "1.1") -> bytes:
        """The head of the request, with these further lines."""
        return head(self.path, b"X-API-Key: " + self.key, b"X-Message-Id: " + self.message_id, *lines, version=version)

    def whole(self, body: bytes, *lines: bytes) -> bytes:
        """The whole request."""
        return self.head(length(body), *lines) + body


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and the statuses that it may be answered with, `within` some seconds.

    `body` is what must be in the queue after a 202. `cut`: after what it has sent, the client sends no more, ever.
    """

    name: str
    allowed: set[int]
    pieces: Callable[[Target], Pieces]
    cut: bool = False
    within: float = 15.0
    body: bytes = MESSAGE


def length(body: bytes) -> bytes:
    return f"Content-Length: {len(body)}".encode()


def filled(size: int) -> bytes:
    """A message of that many bytes."""
    return b'{"type": "work", "fill": "%s"}' % (b"x" * (size - 28))


def whole(name: str, allowed: int, body: bytes, *lines: bytes) -> Case:
    return Case(name, {allowed}, lambda to: [to.whole(body, *lines)], body=body)


def in_chunks(name: str, allowed: set[int], *pieces: bytes, cut: bool = False, body: bytes = MESSAGE) -> Case:
    return Case(name, allowed, lambda to: [to.head(CHUNKED), *pieces], cut=cut, body=body)


def with_id(name: str, allowed: set[int], message_id: bytes) -> Case:
    """In place of the request's own id, which must then not be there."""
    return Case(
        name,
        allowed,
        lambda to: [head(to.path, b"X-API-Key: " + to.key, b"X-Message-Id: " + message_id, length(MESSAGE)) + MESSAGE],
    )


def with_key(name: str, allowed: set[int], *lines: bytes) -> Case:
    """With these lines in place of the key's."""
    return Case(
        name, allowed, lambda to: [head(to.path, b"X-Message-Id: " + to.message_id, *lines, length(MESSAGE)) + MESSAGE]
    )


def trickle(body: bytes, pause: float) -> Iterator[bytes | float]:
    for number in range(len(body)):
        yield body[number : number + 1]
        yield pause


def endless(piece: bytes, pause: float = 0.0) -> Iterator[bytes | float]:
    while True:
        yield piece
        yield pause


SIZES = [
    whole("of the limit", 202, filled(LIMIT)),
    whole("one byte beyond", 413, filled(LIMIT + 1)),
    whole("a hundred times the limit", 413, filled(100 * LIMIT)),
    in_chunks("of the limit, in chunks", {202}, chunk(filled(LIMIT)), chunk(b""), body=filled(LIMIT)),
    in_chunks("beyond, in chunks", {413}, chunk(filled(LIMIT + 1)), chunk(b"")),
    Case("endless, in chunks", {413}, lambda to: chain([to.head(CHUNKED)], endless(chunk(b" " * 1000)))),
    Case("announced, and not sent", {413}, lambda to: [to.head(b"Content-Length: 1000000")]),
    Case("announced with 5,000 digits", {400, 413}, lambda to: [to.head(b"Content-Length: " + b"9" * 5000)]),
    whole("empty", 422, b""),
    Case("none", {422}, lambda to: [to.head()]),
]
SLOW = [
    Case("a byte at a time", {202}, lambda to: chain([to.head(length(MESSAGE))], trickle(MESSAGE, 0.1))),
    Case("slow head", {202}, lambda to: chain(trickle(to.whole(MESSAGE), 0.01))),
    Case("an endless trickle", {408}, lambda to: chain([to.head(CHUNKED)], endless(chunk(b" "), 0.2)), within=40),
    Case("nothing after the head", {408}, lambda to: [to.head(length(MESSAGE)), 40.0], within=40),
    Case("the last byte missing", {408}, lambda to: [to.head(length(MESSAGE)), MESSAGE[:-1], 40.0], within=40),
    Case(
        "waiting for 100 Continue", {202}, lambda to: [to.head(length(MESSAGE), b"Expect: 100-continue"), 1.0, MESSAGE]
    ),
]
CUT = [
    Case("in the middle", {400, GONE}, lambda to: [to.whole(MESSAGE)[:-5]], cut=True),
    Case("in the middle, slowly", {400, GONE}, lambda to: [to.whole(MESSAGE)[:-5], 1.0], cut=True),
    Case(
        "after a whole message of less than announced",
        {400, GONE},
        lambda to: [to.head(b"Content-Length: 99"), MESSAGE],
        cut=True,
    ),
    in_chunks("before the last chunk", {400, GONE}, chunk(MESSAGE), cut=True),
    in_chunks("inside a chunk", {400, GONE}, b"63\r\n" + MESSAGE, cut=True),
    Case("in the head", {400, GONE}, lambda to: [to.whole(MESSAGE)[:30]], cut=True),
]
FRAMING = [
    Case("longer than announced", {422}, lambda to: [to.head(b"Content-Length: 10") + MESSAGE]),
    Case("a message, and more than announced", {202}, lambda to: [to.whole(MESSAGE) + b"garbage\r\n\r\n"]),
    Case("two lengths", {400}, lambda to: [to.head(length(MESSAGE), b"Content-Length: 5") + MESSAGE]),
    Case("a negative length", {400}, lambda to: [to.head(b"Content-Length: -1") + MESSAGE]),
    Case("a length that is no number", {400}, lambda to: [to.head(b"Content-Length: 0x10") + MESSAGE]),
    Case("a length, and chunks", {202, 400}, lambda to: [to.head(length(b"xx"), CHUNKED), chunk(MESSAGE), chunk(b"")]),
    in_chunks("a chunk of no size", {400, GONE}, b"x\r\n" + MESSAGE + b"\r\n"),
    in_chunks("a chunk longer than it says", {400, GONE}, b"3\r\n" + MESSAGE + b"\r\n"),
    Case("an encoding that nobody knows", {400, 501}, lambda to: [to.head(b"Transfer-Encoding: br") + MESSAGE]),
    Case("HTTP/1.0", {202}, lambda to: [to.head(length(MESSAGE), version="1.0") + MESSAGE]),
    Case("HTTP/3.7", {202, 400, 505}, lambda to: [to.head(length(MESSAGE), version="3.7") + MESSAGE]),
    Case("no HTTP at all", {400}, lambda to: [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"]),
    Case("a head of 1 MB", {400, 431, GONE}, lambda to: [to.whole(MESSAGE, *[b"X-Fill: " + b"x" * 1000] * 1000)]),
    Case(
        "an endless head",
        {400, 431, GONE},
        lambda to: chain([to.head()[:-2]], endless(b"X-Fill: " + b"x" * 1000 + b"\r\n")),
    ),
    whole("a line that goes on in the next", 202, MESSAGE, b"X-Fill: a\r\n b"),
]
MALFORMED = [
    whole("not JSON", 422, b"garbage"),
    whole("an array", 422, b"[]"),
    whole("a string", 422, b'"work"'),
    whole("null", 422, b"null"),
    whole("two objects", 422, MESSAGE + MESSAGE),
    whole("an object, and a zero byte", 422, MESSAGE + b"\0"),
    whole("no type", 422, b"{}"),
    whole("a type that is no text", 422, b'{"type": ["work"]}'),
    whole("a type that nobody has", 422, b'{"type": ""}'),
    whole("NaN", 422, b'{"type": "work", "number": NaN}'),
    whole("infinity", 422, b'{"type": "work", "number": -Infinity}'),
    whole("a whole number of 5,000 digits", 422, b'{"type": "work", "number": %s}' % (b"9" * 5000)),
    whole("40,000 brackets", 422, b'{"type": "work", "deep": %s%s}' % (b"[" * 40_000, b"]" * 40_000)),
    whole("40,000 braces", 422, b'{"type": "work", "deep": %s' % (b'{"":' * 20_000)),
    whole("a lone surrogate", 422, b'{"type": "work", "text": "\\ud800"}'),
    whole("a lone surrogate as the type", 422, b'{"type": "\\udfff"}'),
    whole("no UTF-8", 422, b'{"type": "work", "text": "\xff\xfe"}'),
    whole("a surrogate in UTF-8", 422, b'{"type": "work", "text": "\xed\xa0\x80"}'),
    whole("UTF-16", 422, MESSAGE.decode().encode("utf-16")),
    whole("a byte order mark", 202, b"\xef\xbb\xbf" + MESSAGE),
    whole("a zero byte in text", 422, b'{"type": "work", "text": "\0"}'),
    whole("one key twice", 202, b'{"type": "nothing", "type": "work"}'),
    whole("all of Unicode", 202, '{"type": "work", "té\\u0000xt": "\\ud83d\\ude00 \U0010ffff"}'.encode()),
    whole("compressed", 422, gzip.compress(MESSAGE, mtime=0), b"Content-Encoding: gzip"),
]
TYPES = [
    whole(f"of the type {kind.decode() or 'of no name'}", 202, MESSAGE, b"Content-Type: " + kind)
    for kind in (
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/xml",
        b"application/json; charset=utf-16",
        b"multipart/form-data",
        b"multipart/form-data; boundary=x",
        b"garbage",
        b"",
    )
] + [
    whole("a form", 422, b"type=work", b"Content-Type: application/x-www-form-urlencoded"),
    whole(
        "a form in parts",
        422,
        b'--x\r\nContent-Disposition: form-data; name="type"\r\n\r\nwork\r\n--x--',
        b"Content-Type: multipart/form-data; boundary=x",
    ),
]
IDS = [
    with_id("empty", {422}, b""),
    with_id("a blank in it", {422}, b"a b"),
    with_id("of 129 characters", {422}, b"x" * 129),
    with_id("of 10,000 characters", {422}, b"x" * 10_000),
    with_id("in Latin-1", {422}, "ä".encode("latin-1")),
    with_id("in UTF-8", {422}, "ä€".encode()),
    with_id("a tab in it", {422}, b"a\tb"),
    with_id("a line's end in it", {400}, b"a\nb"),
    with_id("a carriage return in it", {400}, b"a\rb"),
    with_id("a zero byte in it", {400}, b"a\0b"),
    with_id("continued on a line of its own", {422}, b"a\r\n b"),
    Case("two", {202}, lambda to: [to.whole(MESSAGE, b"X-Message-Id: another")]),
    whole("a traceparent of 20,000 bytes", 202, MESSAGE, b"Traceparent: " + b"x" * 20_000),
    Case(
        "a traceparent of 200,000 bytes",
        {202, 400, 431, GONE},
        lambda to: [to.whole(MESSAGE, b"Traceparent: " + b"x" * 200_000)],
    ),
    whole("a traceparent that is no ASCII", 202, MESSAGE, b"Traceparent: \xff\xfe"),
]


def keys(key: bytes) -> list[Case]:
    """What is not the key, and what is."""

    def line(value: bytes) -> bytes:
        return b"X-API-Key: " + value

    wrong = {
        "none": [],
        "empty": [line(b"")],
        "another": [line(b"wrong")],
        "the beginning": [line(key[:-1])],
        "the end": [line(key[1:])],
        "with more after it": [line(key + b"x")],
        "twice in a line": [line(key + b", " + key)],
        "in capitals": [line(key.upper())],
        "no ASCII": [line("ключ".encode())],
        "no UTF-8": [line(b"\xff\xfe")],
        "a byte that no encoding has": [line(key + b"\x80")],
        "of 50,000 bytes": [line(key * (50_000 // len(key)))],
        "after a wrong one": [line(b"wrong"), line(key)],
        "in another header": [b"Authorization: " + key],
        "by another name": [b"X_API_Key: " + key],
    }
    return [
        *(with_key(name, {401}, *lines) for name, lines in wrong.items()),
        with_key("with a zero byte", {400}, line(key + b"\0")),
        with_key("with blanks around it, which are no part of it", {202}, line(b"  " + key + b"\t")),
        Case(
            "wrong, for a body without end",
            {401},
            lambda to: chain([head(to.path, line(b"wrong"), CHUNKED)], endless(chunk(b" " * 1000))),
        ),
        Case(
            "wrong, for a queue that there is not",
            {401},
            lambda to: [head("/queues/nobody/messages", line(b"wrong"), length(MESSAGE)) + MESSAGE],
        ),
    ]


def all_cases(key: bytes) -> dict[str, list[Case]]:
    """Everything, by what it is about; the slow ones first."""
    return {
        "bodies that are slow": SLOW,
        "bodies of all sizes": SIZES,
        "requests that are cut off": CUT,
        "HTTP that is wrong": FRAMING,
        "bodies that are malformed": MALFORMED,
        "content types": TYPES,
        "message ids and traces": IDS,
        "API keys": keys(key),
    }
