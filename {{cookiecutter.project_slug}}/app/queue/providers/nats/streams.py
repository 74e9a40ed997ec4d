"""The streams that one queue needs, and how they are made or checked.

Each place of a queue is a work-queue stream with one durable consumer: what is acked is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from app.queue.errors import BrokerRefusedError
from app.queue.interfaces import Place
from app.queue.names import place_name
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.errors import translated

logger = logging.getLogger(__name__)

CONSUMER = "service"
"""The durable consumer that all instances of a service share."""
IN_USE = 10058
"""JetStream's code for: there is a stream of that name, and it is not like this."""
HARMLESS = ("num_replicas", "max_bytes", "duplicate_window", "storage")
"""In these an existing stream may differ, and is used as it is."""


def subject(queue: str, place: Place) -> str:
    """Where a place is published to."""
    return f"retry_{queue}_delayed" if place is Place.RETRY else place_name(queue, place)


def stream_name(its_subject: str) -> str:
    """The stream behind a subject of ours. A stream's name has no dots, and a queue's no `=`."""
    return its_subject.replace(".", "=")


def subjects(config: NatsQueueConfig) -> Iterator[str]:
    """All places that consuming `config` needs."""
    for place in Place:
        if config.enable_dlq or place not in (Place.DLQ, Place.PARKED):
            yield subject(config.name, place)


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
    """What its consumer is made with: the server gives nothing up, and what is in hand is bounded by our requests."""
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
    wanted = stream_config(config, its_subject)
    with translated(f"stream {wanted.name!r}"):
        if config.declare:
            try:
                await connection.jetstream.add_stream(wanted)
            except BadRequestError as error:
                if error.err_code != IN_USE:
                    raise
            else:
                return
        try:
            found = (await connection.jetstream.stream_info(stream_name(its_subject))).config
        except NotFoundError:
            needed = ", ".join(repr(stream_name(name)) for name in subjects(config))
            raise BrokerRefusedError(
                f"declare is false, and the server has no stream {wanted.name!r}; needed are {needed}, "
                f"each with a consumer {CONSUMER!r}"
            ) from None
    _compare(found, wanted, its_subject)


async def ensure_consumer(connection: NatsConnection, config: NatsQueueConfig, its_subject: str) -> None:
    """The same for the stream's consumer; the stream is there."""
    stream = stream_name(its_subject)
    with translated(f"consumer {CONSUMER!r} of stream {stream!r}"):
        if config.declare:
            await connection.jetstream.add_consumer(stream, consumer_config(config))
            return
        try:
            await connection.jetstream.consumer_info(stream, CONSUMER)
        except NotFoundError:
            raise BrokerRefusedError(f"declare is false, and stream {stream!r} has no consumer {CONSUMER!r}") from None


def _compare(found: StreamConfig, wanted: StreamConfig, its_subject: str) -> None:
    if found.retention != RetentionPolicy.WORK_QUEUE or its_subject not in (found.subjects or []):
        raise BrokerRefusedError(
            f"stream {wanted.name!r} exists with retention {found.retention} for {found.subjects}, and this service "
            f"needs one with retention workqueue for {its_subject!r}; delete the stream, or use another name"
        )
    loses = [
        f"{name} {getattr(found, name)} (and not {good})"
        for name, good, loss in (
            ("discard", "new", found.discard != DiscardPolicy.NEW),
            ("max_age", "0", bool(found.max_age)),
            ("no_ack", "false", bool(found.no_ack)),
        )
        if loss
    ]
    if loses:
        raise BrokerRefusedError(
            f"stream {wanted.name!r} exists and would lose messages: {', '.join(loses)}; `nats stream edit` can mend it"
        )
    differs = [
        f"{name} is {getattr(found, name)}, and queues.yaml says {getattr(wanted, name)}"
        for name in HARMLESS
        if getattr(found, name) != getattr(wanted, name)
    ]
    if differs:
        logger.warning("stream %r is used as it is: %s", wanted.name, "; ".join(differs))
