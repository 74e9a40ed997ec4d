"""What becomes of a message whose handler failed, or that killed its consumer."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.handling import Reject
from app.queue.messages.headers import FRESH, History
from app.queue.messages.outcome import Action, InvalidMessageError, Reason
from app.queue.policy import (
    ALONE_FROM,
    ASIDE_FOR,
    MAX_CRASHES,
    RETRYABLE,
    SUSPECT_FROM,
    decide,
    decide_abandoned,
    group_size,
    put_aside,
    put_back,
)
from core_tests.tools.example import queue_config

CONFIG = queue_config(retry={"max_attempts": 4, "initial_delay": 1, "multiplier": 3})
NO_DLQ = queue_config(enable_dlq=False, retry={"max_attempts": 4})
INVALID = [Reason.NOT_JSON, Reason.NOT_AN_OBJECT, Reason.NO_TYPE, Reason.UNKNOWN_TYPE, Reason.INVALID_PAYLOAD]


@pytest.mark.parametrize(("failed", "delay"), [(0, 1.0), (1, 3.0), (2, 9.0)])
def test_a_failure_is_retried_with_a_growing_delay_that_is_one_of_the_known_ones(failed: int, delay: float) -> None:
    error = RuntimeError("no")
    outcome = decide(error, History(attempts=failed), CONFIG)
    assert (outcome.action, outcome.delay, outcome.history.attempts) == (Action.RETRY, delay, failed + 1)
    assert outcome.delay in CONFIG.retry.delays()
    assert outcome.error is error


@pytest.mark.parametrize("attempts", [3, 4, 900_000])
def test_the_last_attempt_is_max_attempts_and_then_the_message_is_dead_lettered(attempts: int) -> None:
    outcome = decide(RuntimeError("no"), History(attempts=attempts), CONFIG)
    assert (outcome.action, outcome.reason) == (Action.DEAD_LETTER, Reason.EXHAUSTED)
    assert outcome.history.attempts == attempts + 1


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError(), SystemExit(1), MemoryError()])
def test_whatever_a_handler_raises_may_pass(error: BaseException) -> None:
    assert decide(error, FRESH, CONFIG).action is Action.RETRY


@pytest.mark.parametrize("reason", [*INVALID, Reason.TOO_LARGE])
def test_a_message_that_no_handler_can_take_is_dead_lettered_at_once_and_no_attempt_is_counted(reason: Reason) -> None:
    outcome = decide(InvalidMessageError(reason, "bad"), FRESH, CONFIG)
    assert (outcome.action, outcome.reason, outcome.history.attempts) == (Action.DEAD_LETTER, reason, 0)


def test_a_rejected_message_is_dead_lettered_at_once_with_its_attempt_counted() -> None:
    outcome = decide(Reject("no such user"), FRESH, CONFIG)
    assert (outcome.action, outcome.reason, outcome.history.attempts) == (Action.DEAD_LETTER, Reason.REJECTED, 1)


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
def test_a_failure_that_does_not_count_is_not_held_against_the_message(attempts: int) -> None:
    outcome = decide(RuntimeError("no"), History(attempts=attempts), CONFIG, counts=False)
    assert (outcome.action, outcome.history.attempts) == (Action.RETRY, attempts)
    assert outcome.delay in CONFIG.retry.delays()


def test_what_is_rejected_is_dead_lettered_all_the_same() -> None:
    assert decide(Reject("no"), FRESH, CONFIG, counts=False).reason is Reason.REJECTED


@pytest.mark.parametrize("history", [History(attempts=2), History(attempts=2, first_failed_at="then")])
def test_what_is_put_aside_comes_again_as_it_is_in_some_seconds(history: History) -> None:
    outcome = put_aside(history, CONFIG)
    assert (outcome.action, outcome.history) == (Action.RETRY, history)
    assert outcome.delay in CONFIG.retry.delays()
    assert outcome.delay <= ASIDE_FOR


def test_what_is_put_aside_waits_for_the_shortest_delay_where_all_are_long() -> None:
    config = queue_config("q", retry={"max_attempts": 4, "initial_delay": 60})
    assert put_aside(FRESH, config).delay == 60


def test_what_is_put_aside_waits_for_ten_seconds_at_most() -> None:
    ten = queue_config("q", retry={"max_attempts": 3, "initial_delay": 5, "multiplier": 2})
    assert list(ten.retry.delays()) == [5, 10]
    assert put_aside(FRESH, ten).delay == 10
    eleven = queue_config("q", retry={"max_attempts": 3, "initial_delay": 5.5, "multiplier": 2})
    assert put_aside(FRESH, eleven).delay == 5.5


@pytest.mark.parametrize(("crashes", "place"), [(0, Action.REQUEUE), (1, Action.QUARANTINE), (4, Action.QUARANTINE)])
def test_what_is_put_back_goes_where_it_came_from(crashes: int, place: Action) -> None:
    outcome = put_back(History(attempts=1, crashes=crashes))
    assert (outcome.action, outcome.history) == (place, History(attempts=1, crashes=crashes))


def test_what_was_in_flight_at_one_death_is_no_suspect() -> None:
    assert group_size(0, 10) is group_size(1, 10) is None


@pytest.mark.parametrize("concurrency", [1, 2, 3, 10, 100, 10_000])
def test_groups_of_suspects_shrink_with_each_death_until_one_is_alone(concurrency: int) -> None:
    sizes = [group_size(crashes, concurrency) or 0 for crashes in range(SUSPECT_FROM, ALONE_FROM + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1
    assert 1 <= sizes[0] <= concurrency
    assert group_size(1000, concurrency) == 1


def test_what_died_beside_the_guilty_one_has_a_death_to_spare_when_it_runs_alone() -> None:
    assert [group_size(crashes, 10) for crashes in range(SUSPECT_FROM, MAX_CRASHES)] == [4, 2, 1, 1]
    after_one_more = decide_abandoned(History(crashes=ALONE_FROM), CONFIG)
    assert after_one_more.action is Action.QUARANTINE


def test_the_time_of_the_first_failure_is_noted_once() -> None:
    first = decide(RuntimeError("no"), FRESH, CONFIG).history
    assert first.first_failed_at
    second = decide(
        RuntimeError("no"), History(attempts=1, first_failed_at="2001-01-01T00:00:00+00:00"), CONFIG
    ).history
    assert second.first_failed_at == "2001-01-01T00:00:00+00:00"


def test_a_failure_that_was_survived_ends_the_row_of_crashes_and_keeps_the_returns() -> None:
    past = decide(RuntimeError("no"), History(crashes=2, replays=1), CONFIG).history
    assert (past.crashes, past.replays) == (0, 1)


@pytest.mark.parametrize("crashes", range(MAX_CRASHES - 1))
def test_a_message_of_a_vanished_consumer_is_suspected_with_one_crash_more(crashes: int) -> None:
    outcome = decide_abandoned(History(crashes=crashes, attempts=2), CONFIG)
    assert (outcome.action, outcome.history) == (Action.QUARANTINE, History(crashes=crashes + 1, attempts=2))


def test_a_message_that_was_there_at_every_crash_is_dead_lettered_as_crashed() -> None:
    outcome = decide_abandoned(History(crashes=MAX_CRASHES - 1), CONFIG)
    assert (outcome.action, outcome.reason) == (Action.DEAD_LETTER, Reason.CRASHED)
    assert decide_abandoned(History(crashes=MAX_CRASHES - 1), NO_DLQ).action is Action.DROP


def test_only_an_exhausted_message_may_succeed_later() -> None:
    assert {Reason.EXHAUSTED} == RETRYABLE
