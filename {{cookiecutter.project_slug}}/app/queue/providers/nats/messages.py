"""From NATS' messages to ours, and back.

NATS' headers are text, one line each. What does not fit into that travels as JSON in one header, `queue-headers`. Names
that begin with `Nats-` are orders to the server, and don't travel on. A message's id travels as `message-id`, since
`Nats-Msg-Id` is how the server knows what it has stored already: every hand-over has one of its own, or the server
would drop a retry as a repeat.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import Any

from nats.aio.msg import Msg

from app.queue.headers import DROPPED, MAX_TEXT, OWN, cut
from app.queue.interfaces import Message

MESSAGE_ID = "message-id"
OTHERS = "queue-headers"
DELAY = "queue-delay"
"""Seconds to wait, for a message among the delayed ones."""
STORED_AS = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"
SPARE = frozenset({"dlq-traceback", "dlq-exception-message"})
"""Headers of ours that a message can do without."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\s](?:[^\r\n]*[^\s])?|")


def to_message(received: Msg) -> tuple[Message, str]:
    """A received message and the id that it came with, "" if none."""
    given = received.headers or {}
    others = _others(given.get(OTHERS, "{}"))
    own_id = str(others.pop(MESSAGE_ID, "")) or given.get(MESSAGE_ID) or given.get(STORED_AS) or ""
    headers: dict[str, Any] = {name: value for name, value in given.items() if _travels(name)}
    headers.update(others)
    return Message(received.data, own_id or _made_up_id(received), headers), own_id


def to_headers(message: Message) -> dict[str, str]:
    """A message's headers as they are sent."""
    plain = _VALUE.fullmatch(message.message_id)
    headers = {MESSAGE_ID: message.message_id} if plain else {}
    others: dict[str, Any] = {} if plain else {MESSAGE_ID: message.message_id}
    for name, value in message.headers.items():
        if isinstance(value, str) and _NAME.fullmatch(name) and _VALUE.fullmatch(value):
            if _travels(name):
                headers[name] = value
        else:
            others[name] = value
    if others:
        headers[OTHERS] = json.dumps(others, default=str)
    return headers


def fitted(message: Message, room: int) -> Message:
    """The message with headers of `room` bytes: without the largest, but with all that decides what becomes of it."""
    kept = dict(message.headers)
    dropped: list[str] = []
    spare = [name for name in kept if name in SPARE or name not in OWN]
    for name in sorted(spare, key=lambda name: len(str(kept[name])), reverse=True):
        if size(to_headers(message)) <= room:
            break
        del kept[name]
        dropped.append(cut(name, 100))
        kept[DROPPED] = cut(", ".join(dropped), MAX_TEXT)
        message = replace(message, headers=kept)
    return message


def size(headers: dict[str, str]) -> int:
    """Bytes on the wire, about; never too few."""
    return 16 + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())


def published_as(message: Message) -> str:
    """What a publish is stored as: a client that tries again sends the same id and the same body."""
    return f"{message.message_id}:{hashlib.blake2b(message.body, digest_size=12).hexdigest()}"


def handed_over_as(received: Msg) -> str:
    """What a hand-over is stored as: one place in one stream is handed over once, however often that is tried."""
    where = received.metadata
    return f"{where.stream}:{where.sequence.stream}:{where.timestamp.timestamp()}"


def _travels(name: str) -> bool:
    return name not in (MESSAGE_ID, OTHERS, DELAY) and not name.lower().startswith("nats-")


def _others(text: str) -> dict[str, Any]:
    """What a header of ours says, or somebody else wrote there."""
    try:
        others = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return others if isinstance(others, dict) else {}


def _made_up_id(received: Msg) -> str:
    """For a message without an id, the same in every delivery."""
    return hashlib.blake2b(handed_over_as(received).encode(), digest_size=16).hexdigest()
