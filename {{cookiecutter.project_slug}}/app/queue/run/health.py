# The template's: an update changes it. Which files are yours: README.md.
"""How a queue and the service are, as `/health/queue` shows it: how it follows from the parts, and what asks these."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel

from app.queue.consume.worker import QueueWorker
from app.queue.errors import BrokerError
from app.queue.instrumentation.events import PublisherBlocked, PublisherUnblocked, emit
from app.queue.interfaces import BreakerState, PublisherState, QueueHealthCheck, QueuePublisher

logger = logging.getLogger(__name__)

PROBE_INTERVAL = 1.0  # seconds between the periodic health checks of a queue
BLOCKED_INTERVAL = 0.5  # seconds between looks at what the publishers say of themselves. The broker isn't asked

ConsumerStatus = Literal["running", "paused", "held", "down", "disabled"]
PublisherStatus = Literal["ready", "blocked", "down", "disabled"]
Status = Literal["healthy", "unhealthy"]

HELD_FOR = 10.0  # seconds after which a queue with messages that can't be settled is unhealthy


class QueueHealth(BaseModel):
    """The state of one queue.

    It is healthy when its consumer is registered at the broker, or pauses, and holds nothing for long that can't be
    settled, and when its publisher, and its mover while that is needed, are connected and not blocked. An open circuit
    breaker alone does not make it unhealthy: without traffic it would never get its probe.

    Attributes:
        mover: how the connection is over which failed messages are moved, if it is not the consumer's own, while some
            are held; else None.
    """

    status: Status
    consumer: ConsumerStatus
    publisher: PublisherStatus
    circuit_breaker: BreakerState
    mover: PublisherState | None = None
    detail: str | None = None


class Health(BaseModel):
    """The state of the service."""

    status: Status
    queues: dict[str, QueueHealth]


class ConsumerHealth(NamedTuple):
    """The state of a queue's consumer, and why, in words."""

    status: ConsumerStatus = "disabled"
    why: str | None = None
    mover: PublisherState | None = None


class PublisherHealth(NamedTuple):
    """The state of a queue's publisher, and why, in words."""

    status: PublisherStatus = "disabled"
    why: str | None = None
    breaker: BreakerState = "closed"


def consumer_health(worker: QueueWorker, trouble: str | None) -> ConsumerHealth:
    """The state of a consumer. `trouble` is what its thread, its middleware or its link has to say, or None."""
    if trouble is not None:
        return ConsumerHealth("down", trouble)
    if not (worker.consumer.registered or worker.quiet_now):
        return ConsumerHealth("down", "the broker does not have the consumer, or does not answer")
    if (held := worker.held.detail) is not None:
        status: ConsumerStatus = "held" if worker.held.seconds >= HELD_FOR else "running"
        return ConsumerHealth(status, held, worker.held.mover)
    if worker.pause.active:
        return ConsumerHealth(
            "paused", "many different messages failed in a row; those are tried one at a time, now and then"
        )
    return ConsumerHealth("running", "messages that may have killed a process run alone" if worker.quiet_now else None)


def publisher_health(publisher: QueuePublisher, middleware: str | None, link: str | None) -> PublisherHealth:
    """The state of a publisher. `middleware` and `link` are why these aren't open, or None."""
    state, breaker = publisher.state, publisher.breaker_state
    if middleware is not None:
        return PublisherHealth("down", middleware, breaker)
    if state == "blocked":
        return PublisherHealth(state, "the broker accepts no messages for now", breaker)
    why = None if state == "ready" else link or "the link to the broker has just been lost, or does not answer"
    return PublisherHealth(state, why, breaker)


def queue_health(consumer: ConsumerHealth, publisher: PublisherHealth) -> QueueHealth:
    """All sides of a queue, in one."""
    healthy = not {"down", "held", "blocked"} & {consumer.status, consumer.mover, publisher.status}
    return QueueHealth(
        status="healthy" if healthy else "unhealthy",
        consumer=consumer.status,
        publisher=publisher.status,
        circuit_breaker=publisher.breaker,
        mover=consumer.mover,
        detail="; ".join(dict.fromkeys(filter(None, (consumer.why, publisher.why)))) or None,
    )


def service_health(queues: dict[str, QueueHealth]) -> Health:
    """All queues, in one."""
    healthy = all(queue.status == "healthy" for queue in queues.values())
    return Health(status="healthy" if healthy else "unhealthy", queues=queues)


async def probe_forever(check: QueueHealthCheck) -> None:
    """The periodic health check of one queue on this loop. It also finds a link that died without a word."""
    while True:
        await asyncio.sleep(PROBE_INTERVAL)
        try:
            await check.probe()
        except BrokerError as error:
            logger.warning("%s: %s", check.queue_name, error)
        except Exception:
            logger.exception("%s: the health check failed", check.queue_name)


async def watch_blocked(publishers: Sequence[QueuePublisher]) -> None:
    """Tell the listeners when the broker stops to take messages from a publisher, and when it takes them again."""
    blocked: set[str] = set()
    while True:
        for publisher in publishers:
            name, state = publisher.queue_name, publisher.state
            if state == "blocked" and name not in blocked:
                blocked.add(name)
                logger.warning("%s: the broker accepts no messages for now", name)
                emit(PublisherBlocked(name))
            elif state == "ready" and name in blocked:
                blocked.discard(name)
                logger.info("%s: the broker accepts messages again", name)
                emit(PublisherUnblocked(name))
        await asyncio.sleep(BLOCKED_INTERVAL)
