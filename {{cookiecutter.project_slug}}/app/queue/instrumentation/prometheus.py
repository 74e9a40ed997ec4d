# The template's: an update changes it. Which files are yours: README.md.
"""Counters of what happens to messages, as middleware. `GET /metrics` shows them to Prometheus."""

from __future__ import annotations

import os
from functools import cache
from itertools import product
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.queue.errors import ConfigError
from app.queue.instrumentation import events
from app.queue.instrumentation.events import Event, add_listener
from app.queue.messages.message import Delivery, Message
from app.queue.messages.outcome import Action, Outcome, Reason
from app.queue.middleware import HandleNext, PublishNext
from app.queue.settings.queues import QueuesConfig

HANDLED = Counter("queue_messages_handled", "Deliveries whose handler returned.", ["queue"])
FAILED = Counter("queue_messages_failed", "Deliveries whose handler raised, or that no handler can take.", ["queue"])
RETRIED = Counter("queue_messages_retried", "Failed deliveries that will be tried again.", ["queue"])
DEAD_LETTERED = Counter("queue_messages_dead_lettered", "Messages sent to the DLQ.", ["queue", "reason"])
DROPPED = Counter("queue_messages_dropped", "Messages that no place takes: logged, and gone.", ["queue", "reason"])
QUARANTINED = Counter("queue_messages_quarantined", "Messages that were in flight when a consumer vanished.", ["queue"])
HELD = Gauge(
    "queue_messages_held", "Deliveries in flight that can't be settled now.", ["queue"], multiprocess_mode="livesum"
)
PAUSED = Gauge("queue_consuming_paused", "1 while consuming is paused.", ["queue"], multiprocess_mode="livemax")
PUBLISHED = Counter("queue_messages_published", "Messages that the broker has confirmed.", ["queue"])
PUBLISH_FAILED = Counter("queue_messages_publish_failed", "Publishes that ended in an error.", ["queue"])


async def count_handling(delivery: Delivery, call_next: HandleNext) -> Outcome:
    """Count the outcome of every delivery. One that can't be settled comes again, and is counted again."""
    outcome = await call_next(delivery)
    queue = delivery.queue
    if outcome.action is Action.ACK:
        _handled(queue).inc()
        return outcome
    if outcome.action is Action.QUARANTINE:
        QUARANTINED.labels(queue).inc()
        return outcome
    if outcome.error is not None:
        FAILED.labels(queue).inc()
    if outcome.action is Action.RETRY:
        RETRIED.labels(queue).inc()
    elif outcome.action is Action.DEAD_LETTER:
        DEAD_LETTERED.labels(queue, outcome.reason).inc()
    elif outcome.action is Action.DROP:
        DROPPED.labels(queue, outcome.reason).inc()
    return outcome


def count_events(event: Event) -> None:
    """Listener: the pause, how many deliveries are held, and what was dropped although its queue has a DLQ."""
    if isinstance(event, events.MessageHeld):
        HELD.labels(event.queue).inc()
    elif isinstance(event, events.MessageReleased):
        HELD.labels(event.queue).dec()
    elif isinstance(event, events.MessageDropped):
        DROPPED.labels(event.queue, event.reason).inc()
    elif isinstance(event, events.ConsumingPaused | events.ConsumingResumed):
        PAUSED.labels(event.queue).set(isinstance(event, events.ConsumingPaused))


add_listener(count_events)


async def count_publishing(queue: str, message: Message, call_next: PublishNext) -> None:
    """Count what was published, and what was not."""
    try:
        await call_next(queue, message)
    except Exception:
        PUBLISH_FAILED.labels(_text(queue)).inc()
        raise
    _published(queue).inc()


# The two that every message costs. To look a label up takes longer than to count.
_handled = cache(HANDLED.labels)


@cache
def _published(queue: str) -> Counter:
    return PUBLISHED.labels(_text(queue))


def show(config: QueuesConfig) -> None:
    """Have every series from the start: who waits for an increase would miss the one from nothing to 1."""
    for queue in config.queues:
        for of_queue in (HANDLED, FAILED, RETRIED, QUARANTINED, HELD, PAUSED, PUBLISHED, PUBLISH_FAILED):
            of_queue.labels(queue.name)
        for of_reason, reason in product((DEAD_LETTERED, DROPPED), Reason):
            of_reason.labels(queue.name, reason)


def _text(queue: str) -> str:
    """Whatever a caller calls a queue, as text that can be sent: or else nothing at all could be shown any more."""
    return queue.encode(errors="backslashreplace").decode()


def exposition() -> bytes:
    """All that is counted, as Prometheus reads it: of this process, or of all that share PROMETHEUS_MULTIPROC_DIR."""
    if _shared() is None:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # so it comes
    return generate_latest(registry)


def check_shared_metrics() -> None:
    """Raises ConfigError if PROMETHEUS_MULTIPROC_DIR is no folder that this process may write to."""
    folder = _shared()
    if folder is not None and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise ConfigError(f"environment variable PROMETHEUS_MULTIPROC_DIR: {str(folder)!r} is no folder to write to")


def forget_process() -> None:
    """At its end: what it holds is no more. What it has counted stays in the sums."""
    if _shared() is not None:
        mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]  # so it comes


def _shared() -> Path | None:
    """prometheus_client reads the same variable, when it is imported."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None
