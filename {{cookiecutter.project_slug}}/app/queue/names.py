"""The names of the places of a queue, the same in every broker."""

from __future__ import annotations

from app.queue.interfaces import Place


def dlq_name(queue: str) -> str:
    """The dead-letter queue."""
    return f"dlq_{queue}"


def parked_name(queue: str) -> str:
    """Where a message stays until a person looks at it."""
    return f"parked_{queue}"


def suspects_name(queue: str) -> str:
    """Where a message that was in hand when a process died waits to be run by itself."""
    return f"retry_{queue}_crashed"


def place_name(queue: str, place: Place, delay: float = 0.0) -> str:
    """The name of any place."""
    match place:
        case Place.QUEUE:
            return queue
        case Place.RETRY:
            return retry_name(queue, delay)
        case Place.DLQ:
            return dlq_name(queue)
        case Place.SUSPECTS:
            return suspects_name(queue)
        case Place.PARKED:
            return parked_name(queue)


def retry_name(queue: str, delay: float) -> str:
    """Where a message waits `delay` seconds for its next attempt."""
    return f"retry_{queue}_{round(delay * 1000)}"
