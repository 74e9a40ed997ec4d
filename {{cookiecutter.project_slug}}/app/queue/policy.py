"""What becomes of a message after its handler returned or raised: all of it, and the same for every provider."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from app.queue.config import QueueConfig
from app.queue.handling import Reject
from app.queue.headers import FRESH, History, timestamp

MAX_CRASHES = 5
"""A message that was in hand this many times in a row when its process died goes to the dead-letter queue.

A process may also be killed from outside while an innocent suspect runs. That this hits the same one again and again is
what the number makes unlikely.
"""


class Reason(StrEnum):
    """Why a message is in the dead-letter queue (header `dlq-reason`)."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    NO_TYPE = "no_type"
    UNKNOWN_TYPE = "unknown_type"
    INVALID_PAYLOAD = "invalid_payload"
    TOO_LARGE = "too_large"
    REJECTED = "rejected"
    CRASHED = "crashed"
    EXHAUSTED = "exhausted"


RETRYABLE = frozenset({Reason.EXHAUSTED})
"""Reasons that may pass. All others are facts about the message; a pass over the dead-letter queue parks it."""


class InvalidMessageError(Exception):
    """A message that no handler can take. Its text is fit for whoever sent it."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Action(StrEnum):
    """How a delivery is settled. All but ACK and DROP hand it over to another place, and then ack it."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    DROP = "drop"
    """Exhausted, and the queue has no dead-letter queue: logged whole, then acked."""
    RETURN = "return"
    """To the tail of its queue, as it came: it has not been run."""
    SUSPECT = "suspect"
    """To the suspects: whoever had it in hand may have died of it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The decision about one delivery.

    Attributes:
        past: the message's history from now on.
        delay: seconds, for RETRY.
        reason, error: for DEAD_LETTER and DROP; `error` also for RETRY.
    """

    action: Action
    past: History = FRESH
    delay: float = 0.0
    reason: Reason | None = None
    error: BaseException | None = None


DONE = Outcome(Action.ACK)


def decide(error: BaseException, past: History, config: QueueConfig, *, probe: bool = False) -> Outcome:
    """The outcome of a failed handler call.

    A message whose failure is in itself dies at once. Any other is retried with growing delays until it has had
    `max_attempts`. A failure of a probe (see `pause.py`) is not held against the message.
    """
    past = replace(past, crashes=0, first_failed_at=past.first_failed_at or timestamp())
    if isinstance(error, InvalidMessageError):
        return _give_up(error.reason, error, past, config)
    past = replace(past, attempts=past.attempts + (not probe))
    if isinstance(error, Reject):
        return _give_up(Reason.REJECTED, error, past, config)
    if past.attempts >= config.retry.max_attempts:
        return _give_up(Reason.EXHAUSTED, error, past, config)
    return Outcome(Action.RETRY, past, delay=config.retry.delay(max(past.attempts, 1)), error=error)


def decide_redelivered(past: History, config: QueueConfig) -> Outcome:
    """The outcome of a delivery that an unknown consumer had in hand and never settled: that consumer may be dead.

    It is not run but put among the suspects, so that the count is in the broker before it can do harm again.
    """
    past = replace(past, crashes=past.crashes + 1)
    if past.crashes >= MAX_CRASHES:
        return _give_up(Reason.CRASHED, None, past, config)
    return Outcome(Action.SUSPECT, past)


def _give_up(reason: Reason, error: BaseException | None, past: History, config: QueueConfig) -> Outcome:
    action = Action.DEAD_LETTER if config.enable_dlq else Action.DROP
    return Outcome(action, past, reason=reason, error=error)
