"""What the service writes into messages, and what it does with what others wrote there."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.queue.interfaces import Message
from app.queue.messages.headers import (
    DEEPEST,
    DROPPED,
    FRESH,
    MAX_COUNT,
    MAX_FOREIGN,
    MAX_TEXT,
    MAX_TRACEBACK,
    History,
    cut,
    cut_head,
    dead_letter_reason,
    describe,
    history_in_queue,
    history_of,
    own_headers,
    timestamp,
    wire_size,
    with_failure,
    with_history,
    within_limits,
)
from app.queue.messages.outcome import Reason

PAST = History(attempts=2, crashes=1, replays=3, first_failed_at="2001-01-01T00:00:00.000+00:00")
FRAME_MAX = 131_072


def message(**headers: Any) -> Message:
    return Message(b"{}", "id-1", {name.replace("_", "-"): value for name, value in headers.items()}, "properties")


def size(headers: Any) -> int:
    return sum(len(f"{name}{value}".encode()) for name, value in headers.items())


def raised(error: BaseException) -> BaseException:
    """The same error, with a traceback."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - SystemExit too
        return caught


# --- cutting


@pytest.mark.parametrize("text", ["", "a", "äöü€😀", "x" * 20, "ä" * 10])
def test_a_text_that_fits_is_not_cut(text: str) -> None:
    assert cut(text, 20) == text
    assert cut_head(text, 20) == text


@pytest.mark.parametrize("text", ["x" * 21, "ä" * 11, "a" + "ä" * 15, "€" * 10, "a" + "😀" * 9, "ab" + "😀" * 9])
def test_a_longer_text_is_cut_to_the_size_in_bytes_and_in_whole_characters(text: str) -> None:
    start, end = cut(text, 20), cut_head(text, 20)
    assert len(start.encode()) <= 20
    assert len(end.encode()) <= 20
    assert start.endswith("...")
    assert text.startswith(start.removesuffix("..."))
    assert end.startswith("...")
    assert text.endswith(end.removeprefix("..."))
    assert len(start) >= 6  # no more is cut off than has to be
    assert len(end) >= 6


def test_a_lone_surrogate_is_no_obstacle() -> None:
    assert cut("a\ud800b", 20) == "a?b"
    assert cut_head("a\ud800b", 20) == "a?b"


# --- history


def test_a_history_that_was_written_is_read_again() -> None:
    assert history_of(with_history(message(), PAST)) == replace(PAST, moves=1)


def test_a_message_without_headers_has_no_history_and_gets_none_but_that_it_was_moved() -> None:
    assert history_of(message()) == FRESH
    assert with_history(message(), FRESH).headers == {"queue-moves": 1}


def test_no_two_moves_give_a_message_the_same_history_whatever_the_caller_passes() -> None:
    moved, histories = message(), [history_of(message())]
    for move in (
        lambda moved: with_history(moved, FRESH),
        lambda moved: with_failure(moved, PAST, queue="q", reason="rejected"),
        within_limits,
        lambda moved: with_history(moved, replace(FRESH, moves=0)),
        within_limits,
    ):
        moved = move(moved)
        histories.append(history_of(moved))
    assert [history.moves for history in histories] == [0, 1, 2, 3, 4, 5]


def test_the_count_of_moves_begins_anew_before_it_would_look_forged() -> None:
    assert with_history(message(queue_moves=MAX_COUNT - 1), FRESH).headers == {"queue-moves": 0}


def test_body_id_and_properties_stay_the_same() -> None:
    for new in (with_history(message(), PAST), with_failure(message(), PAST, queue="q", reason="exhausted")):
        assert (new.body, new.message_id, new.properties) == (b"{}", "id-1", "properties")


def test_the_old_name_of_a_counter_is_read_and_not_written_again() -> None:
    old = message(queue_returns=2)
    assert history_of(old) == History(replays=2)
    assert with_history(old, history_of(old)).headers == {"queue-replays": 2, "queue-moves": 1}


@pytest.mark.parametrize("name", ["queue_attempts", "queue_crashes", "queue_replays", "queue_moves"])
@pytest.mark.parametrize("forged", [-1, 1_000_000, 2**70, "3", b"3", 3.0, True, None, [3], {"a": 3}])
def test_a_forged_counter_counts_as_nothing(name: str, forged: Any) -> None:
    assert history_of(message(**{name: forged})) == FRESH


@pytest.mark.parametrize("forged", [5, None, b"2001", ["2001"], "x" * (MAX_TEXT + 1)])
def test_a_forged_time_counts_as_nothing(forged: Any) -> None:
    assert history_of(message(queue_first_failed_at=forged)).first_failed_at == ""


def test_a_new_history_replaces_the_old_one() -> None:
    old = message(queue_attempts=9, queue_crashes=9, queue_replays=9, queue_first_failed_at="x")
    assert with_history(old, FRESH).headers == {"queue-moves": 1}


# --- what passes through


def test_unknown_headers_pass_through_a_retry_and_the_dlq() -> None:
    foreign = {"traceparent": "00-abc", "X-Tenant": b"\x00", "nested": {"a": [1, None]}, "n": 5}
    retried = with_history(Message(b"{}", "id-1", foreign), PAST)
    dead = with_failure(retried, PAST, queue="q", reason="exhausted")
    assert foreign.items() <= retried.headers.items()
    assert foreign.items() <= dead.headers.items()


def test_the_headers_of_an_earlier_death_go_when_a_message_leaves_the_dlq() -> None:
    dead = with_failure(message(kept=1), PAST, queue="q", reason="exhausted", error=raised(RuntimeError("no")))
    back = with_history(dead, History(replays=1))
    assert back.headers == {"kept": 1, "queue-replays": 1, "queue-moves": 2}
    assert dead_letter_reason(back) == ""


def test_foreign_headers_that_are_too_large_are_dropped_largest_first_and_named() -> None:
    headers = {"small": "s", "middle": "m" * 30_000, "large": "l" * 40_000, "largest": "x" * 60_000}
    kept = with_history(Message(b"{}", "id-1", headers), PAST).headers
    assert kept["small"] == "s"
    assert kept["middle"] == headers["middle"]
    assert "large" not in kept
    assert "largest" not in kept
    assert kept[DROPPED] == "largest, large"


@pytest.mark.parametrize(
    "value",
    [
        "x" * MAX_FOREIGN,
        "ä" * (MAX_FOREIGN // 2),
        b"x" * MAX_FOREIGN,
        {"a": "x" * MAX_FOREIGN},
        {"x" * MAX_FOREIGN: 1},
        ["x" * MAX_FOREIGN],
        [0] * MAX_FOREIGN,
        [{"a": [b"x" * MAX_FOREIGN]}],
    ],
    ids=["text", "umlauts", "bytes", "mapping", "long key", "list", "numbers", "nested"],
)
def test_the_size_of_a_header_counts_whatever_its_type(value: Any) -> None:
    assert with_history(message(big=value, small="s"), FRESH).headers == {
        "small": "s",
        DROPPED: "big",
        "queue-moves": 1,
    }


@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]], ids=["mappings", "lists"])
def test_a_header_that_is_too_deep_is_dropped_and_named(wrap: Callable[[Any], Any]) -> None:
    value: Any = 1
    for _ in range(DEEPEST):
        value = wrap(value)
    assert with_history(message(deep=value), FRESH).headers == {"deep": value, "queue-moves": 1}
    for _ in range(600):
        value = wrap(value)
    assert with_history(message(deep=value, small="s"), FRESH).headers == {
        "small": "s",
        DROPPED: "deep",
        "queue-moves": 1,
    }


def test_headers_just_below_the_limit_are_kept() -> None:
    value = "x" * (MAX_FOREIGN - 100)
    assert with_history(message(big=value), FRESH).headers == {"big": value, "queue-moves": 1}


@pytest.mark.parametrize("name", ["n", "ü" * 100, "\N{GRINNING FACE}" * 30], ids=["short", "umlauts", "faces"])
def test_the_size_of_headers_counts_the_bytes_of_their_names(name: str) -> None:
    def at_least(headers: Any) -> int:
        return sum(len(name.encode()) + 3 for name in headers)

    headers = {f"{number:04}{name}": True for number in range(1000)}
    assert wire_size(headers) >= at_least(headers)
    assert at_least(with_history(Message(b"{}", "id-1", headers), FRESH).headers) <= MAX_FOREIGN + 100


def test_what_was_dropped_is_still_named_after_the_next_retry_and_in_the_dlq() -> None:
    once = with_history(message(big="x" * MAX_FOREIGN), PAST)
    dead = with_failure(with_history(once, PAST), PAST, queue="q", reason="exhausted")
    assert dead.headers[DROPPED] == "big"
    more = with_history(Message(b"{}", "id-1", {**once.headers, "more": "x" * MAX_FOREIGN}), PAST)
    assert more.headers[DROPPED] == "big, more"


def test_many_dropped_names_are_cut_short() -> None:
    headers = {f"{number:04}" + "n" * 200: "x" * 1000 for number in range(500)}
    kept = with_history(Message(b"{}", "id-1", headers), FRESH).headers
    assert len(kept[DROPPED].encode()) <= MAX_TEXT


@pytest.mark.parametrize(
    "name", [DROPPED, "dlq-traceback", "dlq-anything", "queue-attempts", "queue-first-failed-at", "queue-anything"]
)
def test_a_forged_header_of_ours_can_not_grow_the_message_beyond_the_brokers_limit(name: str) -> None:
    forged = Message(b"{}", "id-1", {name: "x" * 126_000})
    assert size(with_history(forged, history_of(forged)).headers) <= MAX_FOREIGN
    dead = with_failure(
        forged, history_of(forged), queue="q", reason="exhausted", error=raised(RuntimeError("x" * 9000))
    )
    assert size(dead.headers) < FRAME_MAX


# --- the dead-letter queue


def test_a_dead_letter_says_what_failed_where_how_often_and_since_when() -> None:
    error = raised(KeyError("user"))
    headers = with_failure(message(), PAST, queue="my_queue", reason="exhausted", error=error).headers
    shown = headers.pop("dlq-traceback")  # type: ignore[attr-defined]
    last = datetime.fromisoformat(headers.pop("dlq-last-failed-at"))  # type: ignore[attr-defined]
    assert last.utcoffset() == timedelta(0)
    assert shown.startswith("Traceback (most recent call last)")
    assert shown.endswith("KeyError: 'user'\n")
    assert headers == {
        "queue-attempts": 2,
        "queue-crashes": 1,
        "queue-replays": 3,
        "queue-moves": 1,
        "queue-first-failed-at": PAST.first_failed_at,
        "dlq-version": 1,
        "dlq-reason": "exhausted",
        "dlq-queue": "my_queue",
        "dlq-attempts": 2,
        "dlq-first-failed-at": PAST.first_failed_at,
        "dlq-exception-type": "builtins.KeyError",
        "dlq-exception-message": "'user'",
    }


def test_a_dead_letter_without_an_error_has_no_exception_and_both_times() -> None:
    headers = with_failure(message(), FRESH, queue="q", reason="crashed").headers
    assert not [name for name in headers if "exception" in name or "traceback" in name]
    assert headers["dlq-first-failed-at"] == headers["dlq-last-failed-at"]


@pytest.mark.parametrize("text", ["x" * 300_000, "ä" * 150_000, "😀" * 75_000, "line\n" * 60_000])
def test_an_exception_text_of_300_kb_becomes_a_few_kilobytes(text: str) -> None:
    dead = with_failure(message(), PAST, queue="q", reason="exhausted", error=raised(RuntimeError(text)))
    assert len(dead.headers["dlq-exception-message"].encode()) <= MAX_TEXT
    assert dead.headers["dlq-exception-message"].startswith(text[:200])
    assert len(dead.headers["dlq-traceback"].encode()) <= MAX_TRACEBACK
    assert size(dead.headers) < 6_500


def test_a_deep_traceback_keeps_its_end() -> None:
    def fall(depth: int) -> None:
        if depth == 0:
            raise RuntimeError("the bottom")
        fall(depth - 1)

    try:
        fall(200)
    except RuntimeError as error:
        shown = with_failure(message(), PAST, queue="q", reason="exhausted", error=error).headers["dlq-traceback"]
    assert len(shown.encode()) <= MAX_TRACEBACK
    assert shown.endswith("RuntimeError: the bottom\n")


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise ValueError("not even this")


class NoTextError(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307


@pytest.mark.parametrize("error", [UnreadableError(), NoTextError()])
def test_an_exception_whose_text_can_not_be_read_is_dead_lettered_like_any_other(error: Exception) -> None:
    headers = with_failure(message(), PAST, queue="q", reason="exhausted", error=raised(error)).headers
    assert headers["dlq-exception-message"] == describe(error) == "(its text could not be read)"
    assert headers["dlq-exception-type"] == f"{__name__}.{type(error).__name__}"
    assert type(error).__name__ in headers["dlq-traceback"]


def test_a_traceback_that_can_not_be_shown_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RecursionError

    monkeypatch.setattr(traceback.TracebackException, "from_exception", fail)
    headers = with_failure(message(), PAST, queue="q", reason="exhausted", error=RuntimeError("no")).headers
    assert headers["dlq-traceback"] == ""
    assert headers["dlq-exception-message"] == "no"


def test_a_text_with_a_lone_surrogate_can_travel() -> None:
    headers = with_failure(message(), PAST, queue="q", reason="r", error=raised(RuntimeError("a\ud800b"))).headers
    assert headers["dlq-exception-message"] == "a?b"
    assert headers["dlq-traceback"].encode()


@pytest.mark.parametrize("forged", [None, 5, b"exhausted", ["exhausted"]])
def test_a_forged_reason_is_none(forged: Any) -> None:
    assert dead_letter_reason(message(dlq_reason=forged)) == ""


def test_our_headers_are_told_from_foreign_ones() -> None:
    dead = with_failure(message(kept=1, traceparent="00"), PAST, queue="q", reason="exhausted")
    assert dead.headers.keys() - own_headers(dead.headers).keys() == {"kept", "traceparent"}


def test_a_timestamp_is_utc_in_iso_8601_with_milliseconds() -> None:
    now = timestamp()
    assert datetime.fromisoformat(now).utcoffset() == timedelta(0)
    assert len(now) == len("2001-01-01T00:00:00.000+00:00")


def test_a_dead_letter_keeps_its_reason_when_it_is_parked() -> None:
    dead = with_failure(message(), History(), queue="q", reason=Reason.UNKNOWN_TYPE)
    assert type(dead.headers["dlq-reason"]) is str
    assert within_limits(dead).headers["dlq-reason"] == "unknown_type"


# --- moved back by hand


def test_what_comes_from_its_queue_with_a_reason_to_be_dead_begins_anew_and_counts_the_move() -> None:
    dead = with_failure(message(), PAST, queue="q", reason="exhausted")
    assert history_of(dead) == replace(PAST, moves=1)
    moved = history_in_queue(dead)
    assert moved == replace(PAST, attempts=0, crashes=0, replays=4, moves=1)
    assert history_in_queue(with_history(dead, moved)) == replace(moved, moves=2)


@pytest.mark.parametrize("reason", [None, 7, "", b"exhausted", ["exhausted"]])
def test_what_is_no_reason_makes_nothing_fresh(reason: Any) -> None:
    assert history_in_queue(message(queue_attempts=2, dlq_reason=reason)) == History(attempts=2)


def test_the_count_of_moves_by_hand_never_looks_forged() -> None:
    moved = history_in_queue(message(queue_replays=MAX_COUNT - 1, dlq_reason="rejected"))
    assert history_of(with_history(message(), moved)).replays == MAX_COUNT - 1
