"""A broker that takes back what is not settled in time: what is run in that time, and what is given back before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.queue.consume import deadlines
from app.queue.consume.in_flight import comes_from
from app.queue.errors import BrokerRefusedError, DeliveryLostError
from app.queue.interfaces import Arrival, Claims, Delivery, Place
from app.queue.messages.headers import history_of, with_history
from app.queue.policy import decide_abandoned
from core_tests.tools.example import queue_config
from core_tests.tools.waiting import eventually
from core_tests.unit.records import delivery, record
from core_tests.unit.test_worker import WORK, Bench, work

PATIENCE = 0.25


def bench_of(settle_within: float | None = PATIENCE, **keys: Any) -> Bench:
    """A worker that is not open yet."""
    made = Bench(Claims(), **keys)
    made.consumer.settle_within = settle_within
    return made


async def opened(settle_within: float | None = PATIENCE, **keys: Any) -> Bench:
    made = bench_of(settle_within, **keys)
    await made.worker.open()
    return made


def abandoned(given: Delivery) -> Delivery:
    """It, as it comes from the quarantine after another process took it for one that somebody died of."""
    history = decide_abandoned(history_of(given.message), queue_config("q")).history
    return Delivery("q", with_history(given.message, history), Arrival.NEW, identity=given.identity)


async def test_a_handler_is_stopped_before_the_broker_takes_its_message_back(caplog: pytest.LogCaptureFixture) -> None:
    one = await opened()
    await one.begin(work())
    assert one.places() == [Place.RETRY]
    assert "a handler is stopped after 0.2 s already" in caplog.text


async def test_without_such_a_time_a_handler_has_its_own(caplog: pytest.LogCaptureFixture) -> None:
    one = await opened(None, handler_timeout=0.05)
    await one.begin(work())
    assert one.places() == [Place.RETRY]
    assert "the broker takes back" not in caplog.text


async def test_a_time_that_suffices_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    one = await opened(60.0, handler_timeout=48)
    await one.run(work())
    assert one.broker.acked == 1
    assert not caplog.records


async def test_what_a_link_told_holds_from_the_next_one_on(caplog: pytest.LogCaptureFixture) -> None:
    one = await opened(1800.0)
    assert not caplog.records
    await one.lose_link()
    one.consumer.settle_within = PATIENCE
    await one.worker.open()
    assert "within 0.25 s" in caplog.text
    await one.begin(work())
    assert one.places() == [Place.RETRY]


async def test_what_a_link_told_holds_for_what_a_reader_receives_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    one = await opened(1800.0)

    async def lost() -> str:
        one.consumer.settle_within = PATIENCE
        return "delivery acknowledgement timed out"

    monkeypatch.setattr(one.consumer, "lost", lost)
    await one.worker.lost()
    assert (await asyncio.wait([one.begin(work(), link="reader")], timeout=10))[0]
    assert one.places() == [Place.RETRY]


async def test_it_holds_for_what_comes_before_the_link_is_said_to_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    one = await opened(1800.0)
    await one.lose_link()
    one.consumer.settle_within = PATIENCE
    begun: list[asyncio.Task[Any]] = []

    async def opens_late() -> None:
        one.consumer.has_link = True
        begun.append(one.begin(work()))
        await eventually(lambda: one.handler.attempts == 1, "it runs already")

    monkeypatch.setattr(one.consumer, "open", opens_late)
    await one.worker.open()
    assert (await asyncio.wait(begun, timeout=10))[0]
    assert one.places() == [Place.RETRY]


async def test_what_can_not_be_run_in_time_is_given_back_unharmed() -> None:
    one = await opened(10.0, concurrency=1, prefetch=3, handler_timeout=8)
    first = one.begin(work(name="a"))
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    others = [one.begin(work(name="b")), one.begin(work(name="c", queue_crashes=1), link="reader")]
    await asyncio.gather(*others)
    assert not first.done()
    assert one.handler.attempts == 1
    assert {message.message_id: place for message, place, _ in one.broker.moved} == {
        "b": Place.QUEUE,
        "c": Place.QUARANTINE,
    }
    assert [history_of(message).crashes for message, _, _ in one.broker.moved] == [0, 1]
    one.handler.released.set()
    await first


async def test_what_is_given_back_to_the_quarantine_is_looked_for_there_at_once() -> None:
    one = await opened(10.0, concurrency=1, prefetch=3, handler_timeout=8)
    await one.worker.quarantine_filled(0.01)  # from the connect
    first = one.begin(work(name="a"))
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    await one.begin(work(name="b", queue_crashes=1), link="reader")
    assert one.places() == [Place.QUARANTINE]
    await asyncio.wait_for(one.worker.quarantine_filled(60), 1)
    one.handler.released.set()
    await first


async def test_what_has_waited_for_an_earlier_run_that_never_began_is_not_begun_too_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "SPARE", 0.0)
    one = await opened(60.0, concurrency=1, prefetch=3, handler_timeout=30)
    first = one.begin(work(name="a"))
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    waits = one.begin(work(name="b"))
    await asyncio.sleep(0)
    await one.lose_link()
    await one.worker.open()
    again = one.begin(work(Arrival.OURS, name="b"))
    await asyncio.sleep(0.02)
    one.handler.released.set()
    await asyncio.gather(first, waits, again)
    assert (one.handler.attempts, one.places()) == (1, [Place.QUEUE])


async def test_what_waits_in_a_pause_is_given_back_in_time() -> None:
    one = await opened(pause={"after": 1, "initial_delay": 60, "max_delay": 60}, prefetch=5)
    await one.begin(delivery("bad", b'{"type": "fail"}'))
    assert one.worker.pause.active
    await one.begin(work(name="b", queue_attempts=1))
    assert one.handler.attempts == 0
    assert one.places() == [Place.RETRY, Place.QUEUE]
    assert history_of(one.broker.moved[1][0]).attempts == 1


async def test_a_lost_delivery_whose_time_is_up_is_forgotten() -> None:
    one = await opened(concurrency=1, prefetch=2)
    first = one.begin(work(name="a"))
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    waiting = one.begin(work(name="b"))
    await asyncio.sleep(0)
    await one.lose_link()
    assert await waiting is None
    assert one.places() == []
    one.broker.errors.append(DeliveryLostError("gone"))
    await first


async def test_what_is_held_for_too_long_is_given_back() -> None:
    one = await opened(60.0)
    one.broker.errors += [BrokerRefusedError("full")] * 1000
    begun = one.begin(delivery("id", b'{"type": "fail"}'))
    await eventually(lambda: len(one.worker.held) == 1, "it is held")
    one.worker._deadlines.hold = 0.0
    left = len(one.broker.errors)
    await eventually(lambda: len(one.broker.errors) < left, "it is tried once more")
    one.broker.errors.clear()
    await begun
    assert one.places() == [Place.QUEUE]


async def test_what_is_held_for_a_shorter_time_goes_where_it_was_to_go() -> None:
    one = await opened(60.0)
    one.broker.errors += [BrokerRefusedError("full")] * 2
    await one.begin(delivery("id", b'{"type": "fail"}'))
    assert one.places() == [Place.RETRY]


async def test_a_link_that_tells_the_same_or_nothing_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    one = await opened(60.0)
    limit = one.worker._deadlines.run
    for told in (60.0, None):
        one.consumer.settle_within = told
        await one.worker.open()
        assert one.worker._deadlines.run is limit
    assert len(caplog.records) == 1


async def test_what_still_runs_when_it_comes_again_is_given_back_before_its_time_is_up_and_known_after_that() -> None:
    one = await opened()
    one.worker._deadlines.run = one.worker._deadlines.run.__class__(60.0)  # as a plain function, which nothing stops
    first = one.begin(work())
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    await one.lose_link()
    await one.worker.open()
    await one.begin(work(Arrival.ABANDONED))
    assert (one.handler.attempts, one.places()) == (1, [Place.QUEUE])
    again = one.broker.moved[0][0]
    one.broker.errors.append(DeliveryLostError("gone"))
    one.handler.released.set()
    await first
    await one.begin(Delivery("q", again, Arrival.ABANDONED, identity="id"))
    assert (one.handler.attempts, one.broker.acked) == (1, 1)


@pytest.mark.parametrize("deaths", [1, 2])
async def test_what_others_took_for_a_death_is_known_by_who_has_run_it(deaths: int) -> None:
    one = await opened(60.0)
    first = one.begin(work())
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    await one.lose_link()
    await one.worker.open()
    one.broker.errors.append(DeliveryLostError("gone"))
    one.handler.released.set()
    await first
    again = work()
    for _ in range(deaths):
        again = abandoned(again)
    await one.begin(again)
    assert (one.handler.attempts, one.broker.acked, one.places()) == (1, 1, [])


@pytest.mark.parametrize(
    "other",
    [
        work(queue_moves=1),
        work(queue_moves=2, queue_crashes=1),
        work(queue_moves=1, queue_crashes=1, queue_attempts=1),
        work(queue_moves=1, queue_crashes=1, queue_replays=1),
        work(name="other", queue_moves=1, queue_crashes=1),
        delivery("id", b"other", queue_moves=1, queue_crashes=1),
    ],
    ids=["moved", "replayed, then a death", "tried elsewhere", "came back from the DLQ", "another id", "another body"],
)
async def test_a_message_that_went_another_way_is_another(other: Delivery) -> None:
    assert comes_from(record(work(queue_moves=1, queue_crashes=1)).key, record(work()).key)
    suspect = work(queue_moves=2, queue_crashes=2)
    assert comes_from(record(suspect).key, record(work(queue_moves=1, queue_crashes=1)).key)
    assert not comes_from(record(other).key, record(work()).key)


async def test_without_an_id_only_what_is_equal_is_the_same() -> None:
    one, other = delivery("", WORK), delivery("", WORK, queue_moves=1, queue_crashes=1)
    assert comes_from(record(one).key, record(one).key)
    assert not comes_from(record(other).key, record(one).key)
