"""Settlement: each outcome at the broker, tried until it is done, and what is left when a link breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from app.queue.consume import held, settlement
from app.queue.consume.deadlines import Deadlines
from app.queue.consume.held import Held
from app.queue.consume.intake import Intake
from app.queue.consume.redeliveries import Redeliveries
from app.queue.consume.settlement import Settlement
from app.queue.errors import (
    AckLostError,
    BrokerRefusedError,
    BrokerUnavailableError,
    DeliveryLostError,
    MessageTooLargeError,
)
from app.queue.instrumentation.events import Event, MessageDropped, MessageHeld, MessageReleased, add_listener
from app.queue.interfaces import Message, Place
from app.queue.messages.headers import History, history_of
from app.queue.messages.outcome import DONE, Action, Outcome, Reason
from core_tests.tools.example import queue_config
from core_tests.tools.waiting import eventually
from core_tests.unit.records import Broker, Consumer, delivery, record

PAST = History(attempts=1, first_failed_at="2026-01-01T00:00:00.000+00:00")
RETRY = Outcome(Action.RETRY, PAST, delay=1.5)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "MAX_WAIT", 0.001)


@pytest.fixture
async def events() -> AsyncIterator[list[Event]]:
    seen: list[Event] = []
    remove = add_listener(seen.append)
    yield seen
    remove()


class Bench:
    """A settlement at a broker that fails with these errors first."""

    def __init__(self, *errors: Exception, **keys: Any) -> None:
        config = queue_config("q", **keys)
        self.broker = Broker(*errors)
        self.redeliveries = Redeliveries(5, 100.0, held=0, confirms_acks=False)
        self.held = Held("q", config.held, Intake(Consumer()))
        self.deadlines = Deadlines(config)
        self.settlement = Settlement(config, self.broker, self.redeliveries, self.held, self.deadlines)
        self.record = record()

    async def settle(self, outcome: Outcome) -> Outcome | None:
        return await self.settlement.settle(self.record, outcome)

    def known(self) -> Outcome | None:
        """What is remembered for when the delivery comes again, acks that may be lost not counted."""
        result = self.redeliveries.recall(self.record)
        return None if result is None else result.result()


async def test_what_is_done_is_acked() -> None:
    bench = Bench()
    assert await bench.settle(DONE) is None
    assert (bench.broker.acked, bench.broker.moved) == (1, [])


@pytest.mark.parametrize(
    ("action", "place", "wait"),
    [(Action.RETRY, Place.RETRY, 1.5), (Action.REQUEUE, Place.QUEUE, 0), (Action.QUARANTINE, Place.QUARANTINE, 0)],
)
async def test_a_move_takes_the_new_history_along(action: Action, place: Place, wait: float) -> None:
    bench = Bench()
    assert await bench.settle(Outcome(action, PAST, delay=1.5)) is None
    ((message, where, delay),) = bench.broker.moved
    assert (where, delay, history_of(message).attempts, history_of(message).moves) == (place, wait, 1, 1)


async def test_a_dead_letter_says_why() -> None:
    bench, error = Bench(), RuntimeError("it never works")
    await bench.settle(Outcome(Action.DEAD_LETTER, PAST, reason=Reason.EXHAUSTED, error=error))
    ((message, where, _),) = bench.broker.moved
    assert where is Place.DLQ
    assert message.headers["dlq-reason"] == "exhausted"
    assert message.headers["dlq-exception-message"] == "it never works"


async def test_what_is_dropped_is_logged_whole_and_acked(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    assert await bench.settle(Outcome(Action.DROP, PAST, reason=Reason.EXHAUSTED)) is None
    assert bench.broker.acked == 1
    assert "message id is dropped" in caplog.text
    assert "b'{}'" in caplog.text
    assert "error: None" in caplog.text


async def test_what_is_dropped_after_an_error_says_which(caplog: pytest.LogCaptureFixture) -> None:
    bench, error = Bench(), RuntimeError("it never works")
    await bench.settle(Outcome(Action.DROP, PAST, reason=Reason.EXHAUSTED, error=error))
    assert "error: RuntimeError: it never works" in caplog.text


async def test_what_fails_is_held_and_tried_until_it_is_done_and_that_is_said_once(
    events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(BrokerRefusedError("full"), BrokerUnavailableError("away"), ValueError("a library's own"))
    assert await bench.settle(RETRY) is None
    assert len(bench.broker.moved) == 1
    assert events == [MessageHeld("q", "id", "full"), MessageReleased("q", "id")]
    assert caplog.text.count("is held") == 1
    assert bench.known() is None
    assert len(bench.held) == 0


@pytest.mark.parametrize("takes", [True, False], ids=["its queue takes it", "nothing takes it"])
async def test_in_a_drain_what_is_held_is_tried_once_more_and_then_put_back_to_its_queue_or_left_to_the_broker(
    *, takes: bool, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    monkeypatch.setattr("app.queue.consume.held.chance.uniform", lambda *_: 3600.0)
    bench = Bench(*[BrokerRefusedError("full")] * 10)
    settling = asyncio.create_task(bench.settle(RETRY))
    await eventually(lambda: len(bench.held) == 1, "it is held")
    before = len(bench.broker.errors)
    if takes:
        del bench.broker.errors[1:]
    bench.settlement.drain()
    left = await settling
    if takes:
        assert left is None
        [(message, place, _)] = bench.broker.moved
        assert (place, history_of(message).attempts) == (Place.QUEUE, PAST.attempts)
    else:
        assert left == Outcome(Action.REQUEUE, PAST)
        assert before - len(bench.broker.errors) == 2
        assert bench.broker.moved == []
    assert (len(bench.held), bench.known()) == (0, None)
    assert [type(event) for event in events] == [MessageHeld, MessageReleased]


async def test_what_a_middleware_sends_to_a_dlq_that_is_not_there_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(BrokerUnavailableError("away"), enable_dlq=False)
    assert await bench.settle(Outcome(Action.DEAD_LETTER, PAST, reason=Reason.REJECTED)) is None
    assert (bench.broker.acked, bench.broker.moved) == (1, [])
    assert caplog.text.count("message id is dropped") == 1, "once, although its ack failed first"


@pytest.mark.parametrize("outcome", [DONE, Outcome(Action.DEAD_LETTER, PAST, reason=Reason.REJECTED)])
async def test_in_a_drain_what_has_come_to_its_end_is_not_put_back_to_be_run_again(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_WAIT", 3600.0)
    bench = Bench(*[BrokerUnavailableError("no confirm")] * 1000)
    settling = asyncio.create_task(bench.settle(outcome))
    await eventually(lambda: len(bench.held) == 1, "it is held")
    bench.settlement.drain()
    assert await settling is outcome
    assert (bench.broker.moved, bench.broker.acked) == ([], 0)


async def test_what_is_too_large_to_be_moved_is_parked_as_bare_as_it_can_be(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(MessageTooLargeError("a frame holds 100"))
    bench.record.delivery.message = Message(b"{}", "id", {"mine": "x" * 50})
    assert await bench.settle(Outcome(Action.DEAD_LETTER, PAST, reason=Reason.REJECTED)) is None
    assert bench.broker.moved == [(Message(b"{}", "id"), Place.PARKED, 0.0)]
    assert "a frame holds 100" in caplog.text
    assert "x" * 50 in caplog.text


@pytest.mark.parametrize(("enable_dlq", "errors"), [(True, 2), (False, 1)])
async def test_what_fits_nowhere_is_logged_whole_and_dropped(
    *, enable_dlq: bool, errors: int, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(*[MessageTooLargeError("too large")] * errors, enable_dlq=enable_dlq)
    assert await bench.settle(RETRY) is None
    assert (bench.broker.acked, bench.broker.moved) == (1, [])
    assert "message id is dropped" in caplog.text
    assert "b'{}'" in caplog.text


async def test_what_fits_nowhere_is_told_as_dropped_once_and_when_it_is(events: list[Event]) -> None:
    too_large = MessageTooLargeError("too large")
    bench = Bench(too_large, too_large, BrokerUnavailableError("away"), too_large, too_large)
    assert await bench.settle(RETRY) is None
    assert [type(event) for event in events] == [MessageHeld, MessageDropped, MessageReleased]


async def test_an_ack_that_could_not_be_sent_is_known_once() -> None:
    bench = Bench(DeliveryLostError("gone"))
    assert await bench.settle(DONE) is DONE
    bench.redeliveries.lost([])
    assert bench.known() is DONE
    assert bench.known() is None


@pytest.mark.parametrize("before", [[], [BrokerRefusedError("full")]], ids=["at once", "while it is held"])
@pytest.mark.parametrize(
    ("error", "left"), [(DeliveryLostError("gone"), RETRY), (AckLostError("gone"), DONE)], ids=["delivery", "ack"]
)
async def test_when_the_link_breaks_what_is_left_is_known_for_when_it_comes_again(
    before: list[Exception], error: Exception, left: Outcome
) -> None:
    bench = Bench(*before, error)
    assert await bench.settle(RETRY) is left
    assert bench.known() is left


async def test_what_went_to_the_quarantine_is_not_done_though_its_ack_was_lost() -> None:
    bench = Bench(AckLostError("gone"))
    assert await bench.settle(Outcome(Action.QUARANTINE, replace(PAST, crashes=1))) is None
    bench.record = record(delivery(queue_crashes=1, queue_moves=1))
    assert bench.known() is None


async def test_of_a_lost_delivery_the_task_tells_what_is_left_and_it_is_not_remembered_twice() -> None:
    bench = Bench(DeliveryLostError("gone"))
    bench.record.lost = True
    assert await bench.settle(RETRY) is RETRY
    assert bench.known() is None


async def test_only_what_was_handled_counts_as_done_should_its_ack_be_lost() -> None:
    for outcome, remembered in ((DONE, DONE), (Outcome(Action.ACK, PAST), DONE), (RETRY, None)):
        bench = Bench()
        await bench.settle(outcome)
        bench.redeliveries.lost([])
        assert bench.known() is remembered


def test_every_action_but_ack_and_drop_has_its_place() -> None:
    assert {*settlement.PLACES, Action.ACK, Action.DROP} == set(Action)


async def test_while_a_message_is_held_it_is_known_how_the_link_is_that_moves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(held, "MAX_WAIT", 3600.0)
    monkeypatch.setattr(Broker, "state", "down")
    bench = Bench(*[BrokerUnavailableError("no route")] * 1000)
    settling = asyncio.create_task(bench.settle(RETRY))
    await eventually(lambda: len(bench.held) == 1, "it is held")
    assert bench.held.mover == "down"
    bench.broker.errors.clear()
    bench.held.try_again()
    await settling
    assert bench.held.mover is None
