"""The queues that one queue needs at RabbitMQ, and how they are made or checked.

The arguments of a queue can't be changed later (RabbitMQ answers 406). So those of the queue, its DLQ and its parking
queue depend on `queue_type` alone, and a delay, which a user may tune, is part of a wait queue's name.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aio_pika.abc
import aiormq.exceptions

from app.queue.errors import BrokerRefusedError
from app.queue.names import dlq_name, parked_name, retry_name, suspects_name
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import scratch_channel
from app.queue.providers.rabbitmq.errors import reply, translation

logger = logging.getLogger(__name__)

DECLARE_TIMEOUT = 30.0
DELIVERY_LIMIT = 1_000_000
"""Far beyond reach: RabbitMQ 4 drops a message after 20 deliveries by default, and a closed channel counts as one.

Bounding the crashes of a message is the core's task, which loses nothing.
"""
HARMLESS = ("'x-queue-type'", "'x-delivery-limit'", "'x-queue-mode'", "'x-max-priority'", "'x-queue-version'")
"""Arguments in which an existing queue may differ from ours and still be used as it is."""
REFUSALS = (aiormq.exceptions.ChannelNotFoundEntity, aiormq.exceptions.ChannelPreconditionFailed)
"""What is answered for a queue that isn't there, and for one that is, with other arguments."""


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """One queue at the broker. `adaptable`: it may exist with a few other arguments."""

    name: str
    arguments: dict[str, Any]
    adaptable: bool = True


def queue_specs(config: RabbitMQQueueConfig) -> Iterator[QueueSpec]:
    """All queues that `config` needs for consuming, each before those that point to it."""
    kept = _kept(config)
    yield QueueSpec(config.name, kept)
    yield QueueSpec(suspects_name(config.name), kept)
    if config.enable_dlq:
        yield QueueSpec(dlq_name(config.name), kept)
        yield QueueSpec(parked_name(config.name), kept)
    for delay in config.retry.delays():
        arguments = {
            "x-queue-type": "quorum",
            "x-message-ttl": round(delay * 1000),
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": config.name,
            # Only quorum queues hand an expired message over safely, so a wait queue is one, whatever queue_type says.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        yield QueueSpec(retry_name(config.name, delay), arguments, adaptable=False)


def publishing_spec(config: RabbitMQQueueConfig, queue: str) -> QueueSpec:
    """What has to be there for publishing to `queue`."""
    return QueueSpec(queue, _kept(config))


def _kept(config: RabbitMQQueueConfig) -> dict[str, Any]:
    if config.queue_type == "classic":
        return {"x-queue-type": "classic"}
    return {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}


async def ensure(connection: aio_pika.abc.AbstractConnection, specs: list[QueueSpec], *, declare: bool) -> None:
    """Make all of `specs`, or with `declare` False check that they are there. Raises BrokerError, which names them."""
    left, missing = deque(specs), []
    while left:
        refusal = await _until_refused(connection, left, declare=declare)
        if refusal is None:
            break
        spec = left.popleft()
        if isinstance(refusal, aiormq.exceptions.ChannelNotFoundEntity):
            missing.append(spec)
        else:
            _adapt(spec, reply(refusal))
    if missing:
        needed = "; ".join(f"{spec.name} (durable, {_shown(spec.arguments)})" for spec in missing)
        raise BrokerRefusedError(f"declare is false, and the broker lacks these queues: {needed}")


async def _until_refused(
    connection: aio_pika.abc.AbstractConnection, left: deque[QueueSpec], *, declare: bool
) -> aiormq.exceptions.AMQPError | None:
    """Make or check one after the other, and take it from `left`, until the broker refuses one: that ends the channel.

    Returns the refusal.
    """
    loop = asyncio.get_running_loop()
    spec = left[0]
    try:
        async with asyncio.timeout(DECLARE_TIMEOUT) as limit, scratch_channel(connection) as channel:
            while left:
                limit.reschedule(loop.time() + DECLARE_TIMEOUT)
                spec = left[0]
                try:
                    if declare:
                        await channel.queue_declare(spec.name, durable=True, arguments=spec.arguments)
                    else:
                        await channel.queue_declare(spec.name, passive=True)
                except REFUSALS as refusal:
                    return refusal
                left.popleft()
    except BaseException as error:
        if (ours := translation(f"queue {spec.name!r}", error)) is error:
            raise
        raise ours from error
    return None


def _adapt(spec: QueueSpec, difference: str) -> None:
    """Use a queue as it is, if that loses no message. Raises BrokerRefusedError."""
    if not (spec.adaptable and any(name in difference for name in HARMLESS)):
        raise BrokerRefusedError(
            f"queue {spec.name!r} exists with other arguments than this service needs ({_shown(spec.arguments)}): "
            f"{difference}; delete the queue, or use another name"
        )
    logger.warning(
        "queue %r exists with other arguments than this service would give it (%s), and is used as it is: %s",
        spec.name,
        _shown(spec.arguments),
        difference,
    )


def _shown(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value!r}" for name, value in arguments.items())
