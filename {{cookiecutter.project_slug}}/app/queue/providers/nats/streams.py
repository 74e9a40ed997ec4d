# The template's: an update changes it. Which files are yours: README.md.
"""The streams that one queue needs, and how they are made or checked.

Each place of a queue is a work-queue stream with one durable consumer: what is acked is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nats.errors import NoRespondersError
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServiceUnavailableError

from app.queue.broker.existing import judge
from app.queue.errors import BrokerRefusedError
from app.queue.interfaces import Place
from app.queue.messages.body import json_object
from app.queue.messages.message import places, undivided_name
from app.queue.providers.nats.config import NatsQueueConfig, stream_name
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.errors import translated
from app.queue.providers.nats.rules import consumer_rules, stream_rules

CONSUMER = "service"  # the durable consumer that all instances of a service share
IN_USE = 10058  # JetStream's code for: there is a stream of that name, and it is not like this
INFO_TIMEOUT = 5.0


def subjects(config: NatsQueueConfig) -> Iterator[str]:
    """All places that consuming `config` needs."""
    for place in places(enable_dlq=config.enable_dlq):
        yield undivided_name(config.name, place)


def stream_config(config: NatsQueueConfig, its_subject: str) -> StreamConfig:
    """What a stream of ours is made with."""
    return StreamConfig(
        name=stream_name(its_subject),
        subjects=[its_subject],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,  # a full stream takes nothing more; by default, it would forget what is oldest
        max_bytes=config.max_bytes or -1,
        duplicate_window=config.duplicate_window,
        num_replicas=config.replicas,
    )


def consumer_config(config: NatsQueueConfig) -> ConsumerConfig:
    """What its consumer is made with: the server gives nothing up, and what is in flight is bounded by our requests."""
    return ConsumerConfig(
        durable_name=CONSUMER,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=config.ack_wait,
        max_deliver=-1,
        max_ack_pending=-1,
        max_waiting=2048,
    )


async def ensure_stream(connection: NatsConnection, config: NatsQueueConfig, its_subject: str) -> None:
    """Make the stream, or check that it is there; raises BrokerRefusedError if it can't be used, or BrokerError."""
    wanted, name = stream_config(config, its_subject), stream_name(its_subject)
    with translated(f"stream {name!r}"):
        if config.declare:
            try:
                await connection.jetstream.add_stream(wanted)
            except BadRequestError as error:
                if error.err_code != IN_USE:
                    raise
            else:
                return
        try:
            found = await _info(connection, f"STREAM.INFO.{name}")
        except NotFoundError:
            needed = ", ".join(repr(stream_name(name)) for name in subjects(config))
            raise BrokerRefusedError(
                f"declare is false, and the server has no stream {name!r}; needed are {needed}, "
                f"each with a consumer {CONSUMER!r}"
            ) from None
    mend = "`nats stream edit` can mend some; else delete the stream, or use another name"
    judge(f"stream {name!r}", found, wanted.as_dict(), stream_rules(its_subject), mend)


async def ensure_consumer(connection: NatsConnection, config: NatsQueueConfig, its_subject: str) -> None:
    """The same for the stream's consumer; the stream is there."""
    wanted, stream = consumer_config(config), stream_name(its_subject)
    refusal: APIError | None = None
    with translated(f"consumer {CONSUMER!r} of stream {stream!r}"):
        if config.declare:
            try:
                await connection.jetstream.add_consumer(stream, wanted)
            except APIError as error:
                refusal = error  # one that is there may differ in what can't be changed
            else:
                return
        try:
            found = await _info(connection, f"CONSUMER.INFO.{stream}.{CONSUMER}")
        except NotFoundError:
            if refusal is not None:
                raise refusal from None
            raise BrokerRefusedError(f"declare is false, and stream {stream!r} has no consumer {CONSUMER!r}") from None
    rules = consumer_rules(config, its_subject, holds_back=its_subject == undivided_name(config.name, Place.RETRY))
    mend = "`nats consumer edit` can mend some; else delete it, which loses no message"
    judge(f"consumer {CONSUMER!r} of stream {stream!r}", found, wanted.as_dict(), rules, mend)


async def _info(connection: NatsConnection, what: str) -> dict[str, Any]:
    """A stream's or a consumer's configuration, as the server says it: nats-py leaves out what it does not know."""
    try:
        answer = await connection.client.request(f"$JS.API.{what}", timeout=INFO_TIMEOUT)
    except NoRespondersError:
        raise ServiceUnavailableError from None
    said = json_object(answer.data)
    if "error" in said:
        APIError.from_error(said["error"])
    return dict(said["config"])
