"""From NATS' messages to ours, and back. Its headers are text, one line each, and some are orders to the server.

A message's id travels as `message-id`, since `Nats-Msg-Id` is how the server knows what it has stored already: every
hand-over has one of its own, or the server would drop a retry as a repeat.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from nats.aio.msg import Msg

from app.queue.headers import ATTEMPTS, CRASHES, DROPPED, MAX_TEXT, OWN, RETURNS, cut
from app.queue.interfaces import Message

MESSAGE_ID = "message-id"
DELAY = "queue-delay"
"""Seconds to wait, for a message among the delayed ones."""
STORED_AS = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"
NUMBERS = frozenset({ATTEMPTS, CRASHES, RETURNS, "dlq-version", "dlq-attempts"})
TEXTS = OWN - NUMBERS
LENGTHY = frozenset({"dlq-traceback", "dlq-exception-message"})

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}
_UNESCAPES = {escape: char for char, escape in _ESCAPES.items()}


def to_message(received: Msg) -> tuple[Message, str]:
    """A received message and the id that it came with, "" if none. Orders to the server don't travel on."""
    headers: dict[str, Any] = {}
    dropped: list[str] = []
    own_id = ""
    for name, value in (received.headers or {}).items():
        if name == MESSAGE_ID or (name == STORED_AS and not own_id):
            own_id = value
        elif name in NUMBERS:
            headers[name] = int(value) if re.fullmatch("[0-9]{1,9}", value) else value
        elif name in TEXTS:
            headers[name] = re.sub(r"\\[\\nr]", lambda match: _UNESCAPES[match[0]], value)
        elif not _NAME.fullmatch(name):
            dropped.append(cut(name, 100))  # it can be read, and could not be written
        elif name != DELAY and not name.lower().startswith("nats-"):
            headers[name] = value
    if dropped:
        headers[DROPPED] = cut(", ".join(dropped), MAX_TEXT)
    return Message(received.data, own_id or _made_up_id(received), headers), own_id


def to_headers(message: Message) -> dict[str, str]:
    """A message's headers as they are sent. What is not text is written as JSON, and is text when it comes back.

    Raises ValueError for what can't be sent.
    """
    headers = {MESSAGE_ID: message.message_id}
    for name, value in message.headers.items():
        if name in TEXTS and isinstance(value, str):
            headers[name] = re.sub(r"[\\\n\r]", lambda match: _ESCAPES[match[0]], value)
        elif not _NAME.fullmatch(name):
            raise ValueError(f"a header can't be named {name!r}")
        elif name not in (MESSAGE_ID, DELAY) and not name.lower().startswith("nats-"):
            headers[name] = value if isinstance(value, str) else json.dumps(value, default=str)
    return headers


def fitted(headers: Mapping[str, str], room: int) -> dict[str, str]:
    """The headers in `room` bytes: without the largest, but with all that decides what becomes of the message."""
    kept = dict(headers)
    spare = [name for name in kept if name in LENGTHY or name not in OWN | {MESSAGE_ID, DELAY, STORED_AS}]
    dropped: list[str] = []
    for name in sorted(spare, key=lambda name: len(kept[name]), reverse=True):
        if size(kept) <= room:
            break
        del kept[name]
        dropped.append(cut(name, 100))
        kept[DROPPED] = cut(", ".join(dropped), MAX_TEXT)
    return kept


def size(headers: Mapping[str, str]) -> int:
    """Bytes on the wire, about; never too few."""
    return 16 + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())


def published_as(message: Message) -> str:
    """What a publish is stored as: a client that tries again sends the same id and the same body."""
    return f"{message.message_id}:{hashlib.blake2b(message.body, digest_size=12).hexdigest()}"


def handed_over_as(received: Msg) -> str:
    """What a hand-over is stored as: one place in one stream is handed over once, however often that is tried."""
    where = received.metadata
    return f"{where.stream}:{where.sequence.stream}:{where.timestamp.timestamp()}"


def _made_up_id(received: Msg) -> str:
    """For a message without an id, the same in every delivery."""
    return hashlib.blake2b(handed_over_as(received).encode(), digest_size=16).hexdigest()
