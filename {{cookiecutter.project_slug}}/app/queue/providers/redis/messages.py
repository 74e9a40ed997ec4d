"""From entries of a stream to messages, and back.

An entry has the fields `body`, `message_id` and `headers` (a JSON object). A foreign client needs no more than the
first. Fields that this service doesn't know go wherever the message goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from app.queue.interfaces import Message
from app.queue.providers.redis.scripts import MAX_ARGUMENTS

BODY = b"body"
MESSAGE_ID = b"message_id"
HEADERS = b"headers"


def to_message(entry: bytes, fields: Sequence[bytes]) -> tuple[Message, str]:
    """An entry's message and the id that it came with, "" if none. One without a body has an empty one: poison."""
    body: bytes = b""
    own_id = ""
    headers: dict[str, Any] = {}
    others: list[bytes] = []
    for name, value in _pairs(fields):
        if name == BODY:
            body = value
        elif name == MESSAGE_ID:
            own_id = value.decode(errors="replace")
        elif name == HEADERS:
            headers = _object(value)
        else:
            others += (name, value)
    return Message(body, own_id or entry.decode(), headers, tuple(others[:MAX_ARGUMENTS])), own_id


def to_fields(message: Message) -> list[bytes]:
    """The fields and values of a message, one after the other."""
    fields = [BODY, message.body, MESSAGE_ID, message.message_id.encode(errors="replace")]
    if message.headers:
        fields += (HEADERS, json.dumps(dict(message.headers), default=str).encode())
    # Where another provider's message is published, its properties are not ours.
    if isinstance(message.properties, tuple):
        fields += message.properties
    return fields


def _pairs(fields: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(fields[::2], fields[1::2], strict=True)


def _object(text: bytes) -> dict[str, Any]:
    """What a header of ours says, or somebody else wrote there."""
    try:
        headers = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return headers if isinstance(headers, dict) else {}
