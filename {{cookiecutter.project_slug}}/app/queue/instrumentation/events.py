# The template's: an update changes it. Which files are yours: README.md.
"""What happens to a queue, as typed events, for whoever wants to count or report it.

A listener is a plain function. It is called on the event loop on which the thing happened: its own for each consumer
thread, so it must be quick and safe to call from several threads. What it raises is logged, and goes no further.
Call `add_listener()` before the service starts:

    def report(event: Event) -> None:
        if isinstance(event, LinkLost):
            LOST.labels(event.queue, event.what).inc()

    add_listener(report)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a queue."""

    queue: str


@dataclass(frozen=True, slots=True)
class LinkOpened(Event):
    """A consumer or publisher is connected."""

    what: Literal["consumer", "publisher"]


@dataclass(frozen=True, slots=True)
class LinkLost(Event):
    """A consumer or publisher has lost its link to the broker; `why` in words."""

    what: Literal["consumer", "publisher"]
    why: str


@dataclass(frozen=True, slots=True)
class PublisherBlocked(Event):
    """The broker accepts no messages from the publisher for now: it is short of memory or disk, or full."""


@dataclass(frozen=True, slots=True)
class PublisherUnblocked(Event):
    """The broker accepts messages again."""


@dataclass(frozen=True, slots=True)
class ConsumingPaused(Event):
    """`failures` different messages failed in a row; what has failed before is tried one at a time, now and then."""

    failures: int


@dataclass(frozen=True, slots=True)
class ConsumingResumed(Event):
    """A message was handled again, and the pause is over."""


@dataclass(frozen=True, slots=True)
class MessageHeld(Event):
    """A delivery can't be settled now; it stays in flight, and is tried again. `why` in words."""

    message_id: str
    why: str


@dataclass(frozen=True, slots=True)
class MessageReleased(Event):
    """A delivery that was held is settled, or its link is gone and it will come again."""

    message_id: str


@dataclass(frozen=True, slots=True)
class MessageDropped(Event):
    """A message fits nowhere, not even as bare as it can be, and is gone but for the log."""

    message_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DrainStarted(Event):
    """The queue receives nothing more; `in_flight` deliveries are to finish."""

    in_flight: int


@dataclass(frozen=True, slots=True)
class DrainEnded(Event):
    """The drain is over; `unfinished` deliveries were cut off, and will be delivered again."""

    unfinished: int


Listener = Callable[[Event], None]
_listeners: tuple[Listener, ...] = ()


def add_listener(listener: Listener) -> Callable[[], None]:
    """Have `listener` called with every event from now on. Returns what ends that."""
    global _listeners  # noqa: PLW0603 - replaced, never changed, so that emit() needs no lock
    _listeners = (*_listeners, listener)

    def remove() -> None:
        global _listeners  # noqa: PLW0603
        _listeners = tuple(other for other in _listeners if other is not listener)

    return remove


def emit(event: Event) -> None:
    """Tell all listeners. Never raises."""
    for listener in _listeners:
        try:
            listener(event)
        except Exception:
            logger.exception("a listener failed on %r", event)
