"""Publishing: a message is in its stream, or there is an error that says why not."""

from __future__ import annotations

import json
from typing import Any

import nats.errors

from app.queue.errors import (
    BrokerUnavailableError,
    MessageTooLargeError,
    PublisherBlockedError,
    PublishError,
    UnroutableError,
)
from app.queue.interfaces import Message
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.messages import DELAY, EXPECTED_STREAM, STORED_AS, fitted, size, to_headers
from app.queue.providers.nats.streams import stream_name

FULL = frozenset({10002, 10023, 10028, 10047, 10077})
"""JetStream's codes for: no room, in the stream, the account or the server."""
OTHER_STREAM = 10060
TOO_LARGE = 10054
HEADER_ROOM = 8192
"""Bytes of the server's `max_payload` that a publish leaves free, so that a message can still get our own headers."""


async def put(
    connection: NatsConnection,
    subject: str,
    message: Message,
    stored_as: str,
    *,
    delay: float = 0.0,
    fit: bool = False,
) -> None:
    """Return once the server has confirmed that `message` is in the stream of `subject`, or was there already.

    `fit`: leave out headers rather than refuse the message. Raises BrokerUnavailableError if it surely was not sent,
    UnroutableError if there is no such stream, and PublishError otherwise.
    """
    fixed = {STORED_AS: stored_as, EXPECTED_STREAM: stream_name(subject)} | ({DELAY: repr(delay)} if delay else {})
    limit = connection.client.max_payload
    spare = 0 if fit else min(HEADER_ROOM, limit // 4)
    room = limit - len(message.body) - spare - size(fixed)
    headers = to_headers(fitted(message, room) if fit else message)
    if size(headers) > room:
        raise MessageTooLargeError(
            f"{subject!r}: the message has {len(message.body)} bytes and {size(headers)} of headers; the server's "
            f"max_payload is {limit}, of which {spare} are kept for what is added later"
        )
    connection.check()
    try:
        answer = await connection.request(subject, message.body, headers | fixed)
    except BrokerUnavailableError as error:
        raise PublishError(f"{error}; the broker had not confirmed", may_have_landed=True) from error
    except nats.errors.NoRespondersError:
        raise UnroutableError(
            f"the server has no stream for {subject!r}, or its leader is away; the message went nowhere"
        ) from None
    said = _object(answer.data)
    refusal = said.get("error")
    if not refusal and (said.get("stream") != stream_name(subject) or "seq" not in said):
        raise PublishError(
            f"what answers for {subject!r} is not JetStream, or another stream: {answer.data[:100]!r}",
            may_have_landed=True,
        )
    if refusal:
        raise _refused(subject, refusal.get("err_code", 0), refusal.get("description", "no reason given"))


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _refused(subject: str, code: int, why: str) -> PublishError:
    if code in FULL:
        return PublisherBlockedError(f"the server takes no messages for {subject!r}: {why}; nothing was stored")
    if code == TOO_LARGE:
        return MessageTooLargeError(f"{subject!r}: the message is larger than max_msg_size of its stream")
    if code == OTHER_STREAM:
        return UnroutableError(f"{subject!r} belongs to another stream than {stream_name(subject)!r}")
    return PublishError(f"the server refused the message for {subject!r}: {why}")
