# The template's: an update changes it. Which files are yours: README.md.
"""Counters of what happens to messages, as middleware. `GET /metrics` shows them to Prometheus."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge

from app.queue.instrumentation.events import Event, MessageDropped, MessageHeld, MessageReleased, add_listener
from app.queue.messages.message import Delivery, Message
from app.queue.messages.outcome import Action, Outcome
from app.queue.middleware import HandleNext, PublishNext

HANDLED = Counter("queue_messages_handled", "Deliveries whose handler returned.", ["queue"])
FAILED = Counter("queue_messages_failed", "Deliveries whose handler raised, or that no handler can take.", ["queue"])
RETRIED = Counter("queue_messages_retried", "Failed deliveries that will be tried again.", ["queue"])
DEAD_LETTERED = Counter("queue_messages_dead_lettered", "Messages sent to the DLQ.", ["queue", "reason"])
DROPPED = Counter("queue_messages_dropped", "Messages that no place takes: logged, and gone.", ["queue", "reason"])
QUARANTINED = Counter("queue_messages_quarantined", "Messages that were in flight when a consumer vanished.", ["queue"])
HELD = Gauge("queue_messages_held", "Deliveries in flight that can't be settled now.", ["queue"])
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
    """Listener: how many deliveries are held, and what was dropped although its queue has a DLQ."""
    if isinstance(event, MessageHeld):
        HELD.labels(event.queue).inc()
    elif isinstance(event, MessageReleased):
        HELD.labels(event.queue).dec()
    elif isinstance(event, MessageDropped):
        DROPPED.labels(event.queue, event.reason).inc()


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


def _text(queue: str) -> str:
    """Whatever a caller calls a queue, as text that can be sent: or else nothing at all could be shown any more."""
    return queue.encode(errors="backslashreplace").decode()
