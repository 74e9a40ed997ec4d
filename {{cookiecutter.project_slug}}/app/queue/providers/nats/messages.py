# The template's: an update changes it. Which files are yours: README.md.
"""From NATS' messages to ours, and back.

NATS' headers are text, one line each. What does not fit into that travels as JSON in one header, `queue-headers`. Names
that begin with `Nats-` are orders to the server, `Status` is one to clients, and neither travels on. A message's id
travels as `message-id`, since `Nats-Msg-Id` is how the server knows what it has stored already: every move has one of
its own, or the server would drop a retry as a repeat.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from nats.aio.msg import Msg

from app.queue.interfaces import Message
from app.queue.messages.body import json_object

MESSAGE_ID = "message-id"
OTHERS = "queue-headers"
DELAY = "queue-delay"  # seconds to wait, for a message among the delayed ones
STORED_AS = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[^\s\ud800-\udfff](?:[^\r\n\ud800-\udfff]*[^\s\ud800-\udfff])?|")
"""No line breaks, nothing that is stripped, and no half of a character, which only JSON can say."""


def to_message(received: Msg) -> tuple[Message, str]:
    """A received message and the id that it came with, "" if none."""
    given = received.headers or {}
    others = json_object(given.get(OTHERS, "{}"))
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


def orders(received: Msg, message: Message) -> list[str]:
    """The headers of a message that a move leaves behind: those it came with, less ours, and those it has now."""
    given = received.headers or {}
    ours = (STORED_AS, EXPECTED_STREAM) if MESSAGE_ID in given or OTHERS in given else ()
    return [name for name in (*given, *message.headers) if _is_order(name) and name not in ours]


def size(headers: dict[str, str]) -> int:
    """Bytes on the wire, about; never too few."""
    return 16 + sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())


def published_as(message: Message) -> str:
    """What a publish is stored as: a client that tries again sends the same id and the same body."""
    return f"{message.message_id}:{hashlib.blake2b(message.body, digest_size=12).hexdigest()}"


def moved_as(received: Msg) -> str:
    """What a move is stored as: one place in one stream is moved once, however often that is tried."""
    where = received.metadata
    return f"{where.stream}:{where.sequence.stream}:{where.timestamp.timestamp()}"


def _travels(name: str) -> bool:
    return name not in (MESSAGE_ID, OTHERS, DELAY) and not name.lower().startswith("nats-")


def _is_order(name: str) -> bool:
    # The whole beginning is reserved. And clients take a message with `Status` for an answer of the server's.
    return name.lower().startswith("nats-") or name.lower() == "status"


def _made_up_id(received: Msg) -> str:
    """For a message without an id, the same in every delivery."""
    return hashlib.blake2b(moved_as(received).encode(), digest_size=16).hexdigest()
