# The template's: an update changes it. Which files are yours: README.md.
"""A message's body: from what is published to bytes, and back to a payload and its type."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from typing import Any

import pydantic_core
from pydantic import BaseModel

from app.queue.messages.outcome import InvalidMessageError, Reason

Body = str | bytes | Mapping[str, Any] | BaseModel
"""What can be published: JSON text, or something that becomes a JSON object. It has a key `type`."""
Payload = Mapping[str, Any]  # a decoded body


def encode(body: Body) -> bytes:
    """The bytes of a body. Text and bytes are taken as they are."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, BaseModel):
        return body.model_dump_json(by_alias=True).encode()
    return encode_json(body)


def encode_json(value: Mapping[str, Any]) -> bytes:
    """A mapping as JSON; what JSON has no number for (NaN) becomes null, as in a pydantic model."""
    return pydantic_core.to_json(dict(value), inf_nan_mode="null")


def json_object(text: str | bytes) -> dict[str, Any]:
    """What a header of ours says, or somebody else wrote there; {} if that is no JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def json_text(body: bytes) -> bytes:
    """A body without the byte order mark that some write before UTF-8: it is no JSON, and means nothing."""
    return body.removeprefix(codecs.BOM_UTF8)


def decode(body: bytes) -> tuple[Payload, str]:
    """A body's JSON object, and the message type in it. Raises InvalidMessageError."""
    try:
        payload = pydantic_core.from_json(json_text(body), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidMessageError(Reason.NOT_JSON, f"the body is not JSON: {error}") from None
    if not isinstance(payload, dict):
        raise InvalidMessageError(Reason.NOT_AN_OBJECT, "the body must be a JSON object")
    kind = payload.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidMessageError(Reason.NO_TYPE, "the key 'type' must name the message's type")
    return payload, kind
