# The template's: an update changes it. Which files are yours: README.md.
"""A message, a delivery of it, and the places of a queue where it can lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Arrival(StrEnum):
    """How a delivery came, as far as its provider can tell."""

    NEW = "new"  # for the first time, or after a move
    OURS = "ours"  # again: this process had it in flight, or it was on its way here, so nobody died of it
    ABANDONED = "abandoned"  # again: some consumer had it and never settled it, or the broker can't tell whose it was


@dataclass(slots=True)  # like Delivery not frozen: that makes one three times as slow to create
class Message:
    """A message, whatever broker it is in. Nobody changes it: `with_history()` and the like make another."""

    body: bytes  # as it travels, normally a JSON object with a key `type`
    message_id: str  # unique as far as its publisher sees to it
    # The publisher's and ours (`headers.py`). Unknown ones are passed on wherever the message goes.
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Any = None  # what else the broker's own format knows, opaque to the core and passed on
    content_encoding: str = ""  # the broker's own property of that name, "" if it has none; for `encoding.py` to read


@dataclass(slots=True, eq=False)
class Delivery:
    """A message in flight: the broker keeps it until it is settled, and gives it out again if we die."""

    queue: str  # its name in `queues.yaml`
    message: Message
    arrival: Arrival = Arrival.NEW  # whether somebody had it in flight before, and who
    token: Any = None  # what the provider needs to settle it
    identity: str = ""  # the id that the message came with, or "" if it had none and was given one


class Place(StrEnum):
    """Where a message can be moved to. All places of a queue live in its broker."""

    QUEUE = "queue"  # the tail of the queue itself
    RETRY = "retry"  # waits for a given time, then returns to the tail of the queue
    DLQ = "dlq"  # `dlq_<queue>`, from where it is sent back now and then
    QUARANTINE = "quarantine"  # where a message that was in flight when a consumer vanished waits to be run by itself
    OLD_QUARANTINE = "old_quarantine"  # QUARANTINE before the first release: only read, and dropped with the next
    PARKED = "parked"  # `parked_<queue>`, where it stays until a person looks at it


def places(*, enable_dlq: bool) -> tuple[Place, ...]:
    """Those that a queue needs, with a dead-letter queue or without."""
    unneeded = {Place.OLD_QUARANTINE} if enable_dlq else {Place.OLD_QUARANTINE, Place.DLQ, Place.PARKED}
    return tuple(place for place in Place if place not in unneeded)


def place_name(queue: str, place: Place, delay: float = 0.0) -> str:
    """The name of any place."""
    match place:
        case Place.QUEUE:
            return queue
        case Place.RETRY:
            return retry_name(queue, delay)
        case Place.OLD_QUARANTINE:
            return f"retry_{queue}_crashed"
        case Place.DLQ | Place.QUARANTINE | Place.PARKED:
            return f"{place}_{queue}"


def undivided_name(queue: str, place: Place) -> str:
    """The same, at a broker that keeps all delays in one place."""
    return f"retry_{queue}_delayed" if place is Place.RETRY else place_name(queue, place)


def retry_name(queue: str, delay: float) -> str:
    """Where a message waits `delay` seconds for its next attempt."""
    return f"retry_{queue}_{round(delay * 1000)}"


def wait_of(delays: Sequence[float], delay: float) -> float:
    """Which of the delays that there are wait queues for, in growing order: the next longer one, or the longest."""
    return next((known for known in delays if known >= delay), delays[-1])
