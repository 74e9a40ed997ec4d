# The template's: an update changes it. Which files are yours: README.md.
"""From entries of a stream to messages, and back.

An entry has the fields `body`, `message_id` and `headers` (a JSON object). A foreign client needs no more than the
first. Fields that this service doesn't know go wherever the message goes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from app.queue.interfaces import Message
from app.queue.messages.body import json_object
from app.queue.providers.redis.scripts import MAX_ARGUMENTS

BODY = b"body"
MESSAGE_ID = b"message_id"
HEADERS = b"headers"


def to_message(entry: str, fields: Sequence[bytes]) -> tuple[Message, str]:
    """An entry's message and the id that it came with, "" if none. One without a body has an empty one: poison."""
    body: bytes = b""
    own_id = ""
    headers: dict[str, Any] = {}
    others: list[bytes] = []
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        if name == BODY:
            body = value
        elif name == MESSAGE_ID:
            own_id = value.decode(errors="replace")
        elif name == HEADERS:
            headers = json_object(value)
        else:
            others += (name, value)
    return Message(body, own_id or entry, headers, tuple(others[:MAX_ARGUMENTS])), own_id


def to_fields(message: Message) -> list[bytes]:
    """The fields and values of a message, one after the other."""
    fields = [BODY, message.body, MESSAGE_ID, message.message_id.encode(errors="replace")]
    if message.headers:
        fields += (HEADERS, json.dumps(dict(message.headers), default=str).encode())
    # Where another provider's message is published, its properties are not ours.
    if isinstance(message.properties, tuple):
        fields += message.properties
    return fields
