# The template's: an update changes it. Which files are yours: README.md.
"""Publishing: a message is in its stream, or there is an error that says why not."""

from __future__ import annotations

import nats.errors

from app.queue.broker.errors import unconfirmed
from app.queue.errors import (
    BrokerUnavailableError,
    MessageTooLargeError,
    PublisherBlockedError,
    PublishError,
    UnroutableError,
)
from app.queue.interfaces import Message
from app.queue.messages.body import json_object
from app.queue.providers.nats.config import stream_name
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.messages import DELAY, EXPECTED_STREAM, STORED_AS, size, to_headers

FULL = frozenset({10002, 10023, 10028, 10047, 10077})  # JetStream's codes for no room: stream, account, server
OTHER_STREAM = 10060
TOO_LARGE = 10054
HEADER_ROOM = 8192  # bytes of the server's `max_payload` that a publish leaves free for headers that we add later


async def put(
    connection: NatsConnection, subject: str, message: Message, stored_as: str, *, delay: float = 0.0, spare: int = 0
) -> None:
    """Return once the server has confirmed that `message` is in the stream of `subject`, or was there already.

    `spare` bytes of what the server takes are left free. Raises BrokerUnavailableError if it surely was not sent,
    MessageTooLargeError, UnroutableError if there is no such stream, and PublishError otherwise.
    """
    fixed = {STORED_AS: stored_as, EXPECTED_STREAM: stream_name(subject)} | ({DELAY: repr(delay)} if delay else {})
    headers = to_headers(message)
    limit = connection.client.max_payload
    if len(message.body) + size(headers) + size(fixed) + min(spare, limit // 4) > limit:
        raise MessageTooLargeError(
            f"{subject!r}: the message has {len(message.body)} bytes and {size(headers)} of headers; the server's "
            f"max_payload is {limit}, of which {spare} are kept for what is added later"
        )
    connection.check()
    try:
        # Ours first: NATS 2.9 overlooks a header of its own behind one whose name merely ends like it.
        answer = await connection.request(subject, message.body, fixed | headers)
    except BrokerUnavailableError as error:
        raise unconfirmed(error) from error
    except nats.errors.NoRespondersError:
        what = f"the server has no stream for {subject!r}, or its leader is away; the message went nowhere"
        raise UnroutableError(what) from None
    said = json_object(answer.data)
    if refusal := said.get("error"):
        raise _refused(subject, refusal.get("err_code", 0), refusal.get("description", "no reason given"))
    if said.get("stream") != stream_name(subject) or "seq" not in said:
        what = f"what answers for {subject!r} is not JetStream, or another stream: {answer.data[:100]!r}"
        raise PublishError(what, may_have_landed=True)


def _refused(subject: str, code: int, why: str) -> PublishError:
    if code in FULL:
        return PublisherBlockedError(f"the server takes no messages for {subject!r}: {why}; nothing was stored")
    if code == TOO_LARGE:
        return MessageTooLargeError(f"{subject!r}: the message is larger than max_msg_size of its stream")
    if code == OTHER_STREAM:
        return UnroutableError(f"{subject!r} belongs to another stream than {stream_name(subject)!r}")
    return PublishError(f"the server refused the message for {subject!r}: {why}")
