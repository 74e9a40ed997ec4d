# The template's: an update changes it. Which files are yours: README.md.
"""What becomes of a delivery, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.queue.messages.headers import FRESH, History


class Reason(StrEnum):
    """Why a message is in the dead-letter queue (header `dlq-reason`)."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    NO_TYPE = "no_type"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_PAYLOAD = "invalid_payload"
    TOO_LARGE = "too_large"
    BAD_ENCODING = "bad_encoding"
    REJECTED = "rejected"
    CRASHED = "crashed"
    EXHAUSTED = "exhausted"


class InvalidMessageError(Exception):
    """A message that no handler can take. Its text is fit for whoever sent it."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Action(StrEnum):
    """How a delivery is settled. All but ACK and DROP move it to another place, and then ack it."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    DROP = "drop"  # exhausted, and the queue has no dead-letter queue: logged whole, then acked
    REQUEUE = "requeue"  # to the tail of its queue, as it came: it has not been run
    QUARANTINE = "quarantine"  # to the quarantine: whoever had it in flight may have died of it


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision about one delivery."""

    action: Action
    history: History = FRESH  # the message's from now on
    delay: float = 0.0  # seconds, for RETRY
    reason: Reason | None = None  # for DEAD_LETTER and DROP
    error: BaseException | None = None  # for these, and for RETRY


DONE = Outcome(Action.ACK)
