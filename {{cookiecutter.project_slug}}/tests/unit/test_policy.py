"""What becomes of a message whose handler failed, or that killed its consumer."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.handling import Reject
from app.queue.headers import FRESH, History
from app.queue.policy import MAX_CRASHES, RETRYABLE, Action, InvalidMessageError, Reason, decide, decide_redelivered
from tests.tools.example import queue_config

CONFIG = queue_config(retry={"max_attempts": 4, "initial_delay": 1, "multiplier": 3})
NO_DLQ = queue_config(enable_dlq=False, retry={"max_attempts": 4})
INVALID = [Reason.NOT_JSON, Reason.NOT_AN_OBJECT, Reason.NO_TYPE, Reason.UNKNOWN_TYPE, Reason.INVALID_PAYLOAD]


@pytest.mark.parametrize(("failed", "delay"), [(0, 1.0), (1, 3.0), (2, 9.0)])
def test_a_failure_is_retried_with_a_growing_delay_that_is_one_of_the_known_ones(failed: int, delay: float) -> None:
    error = RuntimeError("no")
    outcome = decide(error, History(attempts=failed), CONFIG)
    assert (outcome.action, outcome.delay, outcome.past.attempts) == (Action.RETRY, delay, failed + 1)
    assert outcome.delay in CONFIG.retry.delays()
    assert outcome.error is error


@pytest.mark.parametrize("attempts", [3, 4, 900_000])
def test_the_last_attempt_is_max_attempts_and_then_the_message_is_dead_lettered(attempts: int) -> None:
    outcome = decide(RuntimeError("no"), History(attempts=attempts), CONFIG)
    assert (outcome.action, outcome.reason) == (Action.DEAD_LETTER, Reason.EXHAUSTED)
    assert outcome.past.attempts == attempts + 1


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError(), SystemExit(1), MemoryError()])
def test_whatever_a_handler_raises_may_pass(error: BaseException) -> None:
    assert decide(error, FRESH, CONFIG).action is Action.RETRY


@pytest.mark.parametrize("reason", [*INVALID, Reason.TOO_LARGE])
def test_a_message_that_no_handler_can_take_is_dead_lettered_at_once_and_no_attempt_is_counted(reason: Reason) -> None:
    outcome = decide(InvalidMessageError(reason, "bad"), FRESH, CONFIG)
    assert (outcome.action, outcome.reason, outcome.past.attempts) == (Action.DEAD_LETTER, reason, 0)


def test_a_rejected_message_is_dead_lettered_at_once_with_its_attempt_counted() -> None:
    outcome = decide(Reject("no such user"), FRESH, CONFIG)
    assert (outcome.action, outcome.reason, outcome.past.attempts) == (Action.DEAD_LETTER, Reason.REJECTED, 1)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("no"), Reason.EXHAUSTED),
        (Reject("no"), Reason.REJECTED),
        (InvalidMessageError(Reason.NOT_JSON, "no"), Reason.NOT_JSON),
    ],
)
def test_without_a_dlq_the_message_is_dropped_for_the_same_reason(error: Exception, reason: Reason) -> None:
    outcome = decide(error, History(attempts=3), NO_DLQ)
    assert (outcome.action, outcome.reason, outcome.error) == (Action.DROP, reason, error)


@pytest.mark.parametrize("attempts", [0, 3])
def test_the_failure_of_a_probe_is_not_held_against_the_message(attempts: int) -> None:
    outcome = decide(RuntimeError("no"), History(attempts=attempts), CONFIG, probe=True)
    assert (outcome.action, outcome.past.attempts) == (Action.RETRY, attempts)
    assert outcome.delay in CONFIG.retry.delays()


def test_a_rejected_probe_is_dead_lettered_all_the_same() -> None:
    assert decide(Reject("no"), FRESH, CONFIG, probe=True).reason is Reason.REJECTED


def test_the_time_of_the_first_failure_is_noted_once() -> None:
    first = decide(RuntimeError("no"), FRESH, CONFIG).past
    assert first.first_failed_at
    second = decide(RuntimeError("no"), History(attempts=1, first_failed_at="2001-01-01T00:00:00+00:00"), CONFIG).past
    assert second.first_failed_at == "2001-01-01T00:00:00+00:00"


def test_a_failure_that_was_survived_ends_the_row_of_crashes_and_keeps_the_returns() -> None:
    past = decide(RuntimeError("no"), History(crashes=2, returns=1), CONFIG).past
    assert (past.crashes, past.returns) == (0, 1)


@pytest.mark.parametrize("crashes", range(MAX_CRASHES - 1))
def test_a_message_of_a_vanished_consumer_is_suspected_with_one_crash_more(crashes: int) -> None:
    outcome = decide_redelivered(History(crashes=crashes, attempts=2), CONFIG)
    assert (outcome.action, outcome.past) == (Action.SUSPECT, History(crashes=crashes + 1, attempts=2))


def test_a_message_that_was_there_at_every_crash_is_dead_lettered_as_crashed() -> None:
    outcome = decide_redelivered(History(crashes=MAX_CRASHES - 1), CONFIG)
    assert (outcome.action, outcome.reason) == (Action.DEAD_LETTER, Reason.CRASHED)
    assert decide_redelivered(History(crashes=MAX_CRASHES - 1), NO_DLQ).action is Action.DROP


def test_only_an_exhausted_message_may_succeed_later() -> None:
    assert {Reason.EXHAUSTED} == RETRYABLE
