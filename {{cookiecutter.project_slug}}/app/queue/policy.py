# The template's: an update changes it. Which files are yours: README.md.
"""What becomes of a message after its handler returned or raised: all of it, and the same for every provider."""

from __future__ import annotations

from dataclasses import replace

from app.queue.handling import Reject
from app.queue.messages.headers import History, timestamp
from app.queue.messages.outcome import Action, InvalidMessageError, Outcome, Reason
from app.queue.settings.queues import QueueConfig

SUSPECT_FROM = 2  # deaths in a row that make a message a suspect: most kills come from outside, and mean no message
ALONE_FROM = 4  # deaths in a row from which on a suspect runs alone: before, one that kills may take others with it
MAX_CRASHES = 6
"""A message that was in flight this many times in a row when its process died goes to the dead-letter queue.

One that kills dies alone at the fifth and at the sixth. So what died beside it four times has one death to spare: a
process may also be killed from outside while an innocent message runs.
"""

ASIDE_FOR = 10.0  # seconds for which a message is put aside, at most, if the queue has such a delay

RETRYABLE = frozenset({Reason.EXHAUSTED})
"""Reasons that may pass. All others are facts about the message; a pass over the dead-letter queue parks it."""


def decide(error: BaseException, history: History, config: QueueConfig, *, counts: bool = True) -> Outcome:
    """The outcome of a failed handler call.

    A message whose failure is in itself dies at once. Any other is retried with growing delays until it has had
    `max_attempts`. A failure in a pause (see `consume/pause.py`) does not count: it is not held against the message.
    """
    history = replace(history, crashes=0, first_failed_at=history.first_failed_at or timestamp())
    if isinstance(error, InvalidMessageError):
        return _give_up(error.reason, error, history, config)
    history = replace(history, attempts=history.attempts + counts)
    if isinstance(error, Reject):
        return _give_up(Reason.REJECTED, error, history, config)
    if history.attempts >= config.retry.max_attempts:
        return _give_up(Reason.EXHAUSTED, error, history, config)
    return Outcome(Action.RETRY, history, delay=config.retry.delay(max(history.attempts, 1)), error=error)


def put_aside(history: History, config: QueueConfig) -> Outcome:
    """The outcome of a delivery that is not run, to make room in a pause: it comes again in some seconds."""
    delays = config.retry.delays()
    delay = max((delay for delay in delays if delay <= ASIDE_FOR), default=delays[0])
    return Outcome(Action.RETRY, history, delay=delay)


def put_back(history: History) -> Outcome:
    """The outcome of a delivery that is not run, since the service stops."""
    return Outcome(Action.QUARANTINE if history.crashes else Action.REQUEUE, history)


def decide_abandoned(history: History, config: QueueConfig) -> Outcome:
    """The outcome of a delivery that an unknown consumer had in flight and never settled: that consumer may be dead.

    It is put into the quarantine, and run from there, so that the count is in the broker before it can do harm again.
    """
    history = replace(history, crashes=history.crashes + 1)
    return decide_condemned(history, config) or Outcome(Action.QUARANTINE, history)


def decide_condemned(history: History, config: QueueConfig) -> Outcome | None:
    """The outcome of a message that has died too often, whenever it comes: its dead-letter queue may have been full."""
    return _give_up(Reason.CRASHED, None, history, config) if history.crashes >= MAX_CRASHES else None


def group_size(crashes: int, concurrency: int) -> int | None:
    """How many messages that were in flight at so many deaths may run side by side; None if it is no suspect.

    Each death makes the group smaller by the same factor, until it is one.
    """
    if crashes < SUSPECT_FROM:
        return None
    return int(concurrency ** (max(0, ALONE_FROM - crashes) / (ALONE_FROM - SUSPECT_FROM + 1)))


def _give_up(reason: Reason, error: BaseException | None, history: History, config: QueueConfig) -> Outcome:
    action = Action.DEAD_LETTER if config.enable_dlq else Action.DROP
    return Outcome(action, history, reason=reason, error=error)
