# The template's: an update changes it. Which files are yours: README.md.
"""The queues that one queue needs at RabbitMQ, and how they are made or checked.

The arguments of a queue can't be changed later (RabbitMQ answers 406). So those of the queue, its DLQ and its parking
queue depend on `queue_type` alone, and a delay, which a user may tune, is part of a wait queue's name.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import aiormq.exceptions

from app.queue.broker.existing import Rule, judge
from app.queue.errors import BrokerRefusedError
from app.queue.messages.message import Place, place_name, places, retry_name
from app.queue.providers.rabbitmq.arguments import (
    CONSUMED,
    MAKES_NOTHING,
    NOT_MADE,
    READ,
    UNREADABLE,
    read_difference,
    waiting,
)
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import RabbitMQConnection
from app.queue.providers.rabbitmq.errors import REFUSALS, reply, translated

logger = logging.getLogger(__name__)

DECLARE_TIMEOUT = 30.0
DELIVERY_LIMIT = 1_000_000
"""Far beyond reach: RabbitMQ 4 drops a message after 20 deliveries by default, and a closed channel counts as one.

Bounding the crashes of a message is the core's task, which loses nothing.
"""
NO_LIMIT = (
    "queue %r has no delivery limit: RabbitMQ 4 drops what comes back 21 times, unless a policy sets a higher one"
)
MEND = "delete the queue, or use another name"


class QueueSpec(NamedTuple):
    """One queue at the broker, and what it may be if it is there already."""

    name: str
    arguments: dict[str, Any]
    rules: Mapping[str, Rule] = CONSUMED


def queue_specs(config: RabbitMQQueueConfig) -> Iterator[QueueSpec]:
    """All queues that `config` needs for consuming, each before those that point to it."""
    for place in places(enable_dlq=config.enable_dlq):
        if place is not Place.RETRY:
            rules = CONSUMED if place is Place.QUEUE else READ
            yield QueueSpec(place_name(config.name, place), _kept(config), rules)
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
        yield QueueSpec(retry_name(config.name, delay), arguments, waiting(arguments))


def publishing_spec(config: RabbitMQQueueConfig, queue: str) -> QueueSpec:
    """What has to be there for publishing to `queue`."""
    return QueueSpec(queue, _kept(config))


def _kept(config: RabbitMQQueueConfig) -> dict[str, Any]:
    if config.queue_type == "classic":
        return {"x-queue-type": "classic"}
    return {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}


async def ensure(connection: RabbitMQConnection, specs: list[QueueSpec], *, declare: bool) -> None:
    """Make all of `specs`, or with `declare` False check that they are there. Raises BrokerError, which names them.

    What is there already is compared, either way.
    """
    left, missing = deque(specs), []
    while left:
        refusal = await _until_refused(connection, left, declare=declare)
        if refusal is None:
            break
        spec = left.popleft()
        said = reply(refusal)
        if isinstance(refusal, aiormq.exceptions.ChannelNotFoundEntity) or NOT_MADE in said:
            missing.append(spec)
        elif isinstance(refusal, aiormq.exceptions.ChannelAccessRefused):
            await _look_without_permission(connection, spec)
        else:
            await _compare(connection, spec, said)
    if missing:
        needed = "; ".join(f"{spec.name} (durable, {_shown(spec.arguments)})" for spec in missing)
        raise BrokerRefusedError(f"declare is false, and the broker lacks these queues: {needed}")


async def _until_refused(
    connection: RabbitMQConnection, left: deque[QueueSpec], *, declare: bool
) -> aiormq.exceptions.AMQPError | None:
    """Make or check one after the other, and take it from `left`, until the broker refuses one: that ends the channel.

    Returns the refusal.
    """
    loop = asyncio.get_running_loop()
    spec = left[0]
    try:
        async with asyncio.timeout(DECLARE_TIMEOUT) as limit, connection.scratch_channel() as channel:
            while left:
                limit.reschedule(loop.time() + DECLARE_TIMEOUT)
                spec = left[0]
                arguments = spec.arguments if declare else {**spec.arguments, **MAKES_NOTHING}
                try:
                    if not declare:
                        await channel.queue_declare(spec.name, passive=True)
                    await channel.queue_declare(spec.name, durable=True, arguments=arguments)
                except aiormq.exceptions.ChannelAccessRefused as refusal:
                    if declare:
                        raise
                    return refusal
                except REFUSALS as refusal:
                    return refusal
                left.popleft()
    except BaseException as error:
        if (ours := translated.of(error, f"queue {spec.name!r}")) is error:
            raise
        raise ours from error
    return None


async def _compare(connection: RabbitMQConnection, spec: QueueSpec, said: str) -> None:
    """Find out what the queue's arguments are, one after the other, and judge them. Raises BrokerError."""
    found = dict(spec.arguments)
    while (difference := read_difference(said, found)) is not None:
        name, value = difference
        if name not in spec.rules or value is UNREADABLE or value == found.get(name):
            raise BrokerRefusedError(f"queue {spec.name!r} exists with other arguments: {said}; {MEND}")
        found[name] = value
        if name == "x-queue-type" and not spec.rules[name].fine(value, found):
            break
        asked = {name: value for name, value in found.items() if value is not None}
        refusal = await _until_refused(connection, deque([QueueSpec(spec.name, asked)]), declare=False)
        if refusal is None:
            break
        said = reply(refusal)
    else:
        raise BrokerRefusedError(f"queue {spec.name!r}: {said}")  # of a queue that isn't there, or that can't be had
    judge(f"queue {spec.name!r}", found, spec.arguments, spec.rules, MEND)
    unlimited = found.get("x-queue-type") == "quorum" and found.get("x-delivery-limit") is None
    if unlimited and "x-message-ttl" not in spec.arguments:
        logger.warning(NO_LIMIT, spec.name)


async def _look_without_permission(connection: RabbitMQConnection, spec: QueueSpec) -> None:
    """Find out at least whether a queue is a stream, whose arguments this user may not compare. Raises BrokerError.

    Consuming like this is always refused, so that nothing is ever received: at a stream since there is no prefetch,
    elsewhere for the argument.
    """
    try:
        with translated(f"queue {spec.name!r}"):
            async with asyncio.timeout(DECLARE_TIMEOUT), connection.scratch_channel() as channel:
                await channel.basic_consume(spec.name, _ignore, arguments={"x-stream-offset": "next"})
    except BrokerRefusedError as error:
        if "prefetch" in str(error).replace(spec.name, ""):
            judge(f"queue {spec.name!r}", {"x-queue-type": "stream"}, spec.arguments, spec.rules, MEND)
    logger.warning(
        "queue %r is used as it is: this user has no permission to configure it, which comparing its arguments takes",
        spec.name,
    )


async def _ignore(_: Any) -> None:
    """Take a delivery, and do nothing."""


def _shown(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value!r}" for name, value in arguments.items())
