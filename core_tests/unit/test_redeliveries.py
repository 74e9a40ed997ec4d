"""What a process remembers of deliveries that it could not settle, and for how long."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.queue.consume.in_flight import Record
from app.queue.consume.redeliveries import Redeliveries, Result
from app.queue.interfaces import Arrival, Delivery
from app.queue.messages.headers import FRESH, with_history
from app.queue.messages.outcome import DONE, Action, Outcome
from core_tests.unit.records import delivery, record

KEEP_FOR = 100.0
RETRY = Outcome(Action.RETRY, delay=1.0)


class Clock:
    """The memory's clock. It stands still."""

    now = 1000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("app.queue.consume.redeliveries.now", lambda: clock.now)
    return clock


def memory(prefetch: int = 2, *, held: int = 0, confirms_acks: bool = False) -> Redeliveries:
    return Redeliveries(prefetch, KEEP_FOR, held=held, confirms_acks=confirms_acks)


def again(redeliveries: Redeliveries, given: Delivery | None = None) -> Result | None:
    return redeliveries.recall(record(given))


def outcome(result: Result | None) -> Outcome | None:
    assert result is not None
    return result.result()


async def test_before_any_loss_nothing_is_known_of_what_could_be_settled_or_has_another_id() -> None:
    redeliveries = memory()
    assert again(redeliveries) is None
    redeliveries.acked(record(delivery("another")))
    assert again(redeliveries) is None


async def test_what_was_in_flight_at_the_loss_is_known_by_its_task_once() -> None:
    redeliveries, running = memory(), record()
    redeliveries.lost([running])
    assert again(redeliveries) is running.task
    assert again(redeliveries) is None


async def test_what_could_not_be_settled_is_known_by_what_is_left_to_be_done() -> None:
    redeliveries = memory()
    redeliveries.unsettled(record(), RETRY)
    assert outcome(again(redeliveries)) is RETRY


@pytest.mark.parametrize(
    "other",
    [delivery("other"), delivery("id", b"other"), delivery(queue_attempts=1), delivery(queue_moves=1)],
    ids=["another id", "another body", "another try", "a move later"],
)
async def test_another_message_is_not_taken_for_it(other: Delivery) -> None:
    redeliveries = memory()
    redeliveries.lost([record()])
    assert again(redeliveries, other) is None


async def test_headers_that_are_not_ours_make_no_other_message_of_it() -> None:
    redeliveries, running = memory(), record()
    redeliveries.lost([running])
    assert again(redeliveries, delivery(traceparent="00")) is running.task


async def test_two_equal_messages_are_remembered_as_two_the_latest_first() -> None:
    redeliveries, first, second = memory(), record(), record()
    redeliveries.lost([first])
    redeliveries.lost([second])
    assert [again(redeliveries), again(redeliveries), again(redeliveries)] == [second.task, first.task, None]


# --- acks that may be lost


async def test_what_was_acked_last_is_done_should_its_ack_be_lost_with_the_link() -> None:
    redeliveries = memory()
    redeliveries.acked(record())
    redeliveries.lost([])
    assert outcome(again(redeliveries)) is DONE
    assert again(redeliveries) is None


async def test_an_ack_is_lost_with_one_link_and_not_with_the_next_one_again() -> None:
    redeliveries = memory()
    redeliveries.acked(record())
    redeliveries.lost([])
    assert outcome(again(redeliveries)) is DONE
    redeliveries.lost([])
    assert again(redeliveries) is None


async def test_what_comes_again_by_a_new_link_is_done_before_the_loss_of_the_old_one_is_noticed(clock: Clock) -> None:
    redeliveries = memory()
    redeliveries.acked(record())
    assert outcome(again(redeliveries)) is DONE
    assert again(redeliveries) is None, "it was acked once, so the next one is a copy"
    redeliveries.acked(record())
    clock.now += KEEP_FOR + 1
    assert again(redeliveries) is None, "it was acked long ago, so it is a copy"


async def test_only_as_many_acks_may_be_lost_as_can_be_in_flight_of_the_consumer_and_of_a_reader_beside_it() -> None:
    redeliveries = memory(prefetch=2)
    for name in "abcde":
        redeliveries.acked(record(delivery(name)))
    redeliveries.lost([])
    assert [again(redeliveries, delivery(name)) is not None for name in "abcde"] == [False, True, True, True, True]


async def test_where_acks_are_confirmed_nothing_is_kept_of_them() -> None:
    redeliveries = memory(confirms_acks=True)
    redeliveries.acked(record())
    redeliveries.lost([])
    assert again(redeliveries) is None


async def test_an_ack_from_long_before_the_loss_is_not_lost(clock: Clock) -> None:
    redeliveries = memory()
    redeliveries.acked(record())
    clock.now += KEEP_FOR + 1
    redeliveries.lost([])
    assert again(redeliveries) is None


async def test_an_acked_message_without_an_id_says_nothing_of_an_equal_one() -> None:
    redeliveries = memory()
    redeliveries.acked(record(delivery("")))
    redeliveries.lost([])
    assert again(redeliveries, delivery("")) is None


# --- copies, and how long anything is kept


async def test_what_we_moved_and_somebody_sends_back_with_a_fresh_history_is_another_message() -> None:
    redeliveries, rejected = memory(), record()
    redeliveries.unsettled(rejected, DONE)  # it is in the DLQ, but its ack was lost
    dead = with_history(rejected.delivery.message, FRESH)
    replayed = with_history(dead, FRESH)
    assert again(redeliveries, Delivery("q", replayed, Arrival.ABANDONED, identity="id")) is None


async def test_a_message_without_an_id_is_known_by_its_body_if_it_is_ours() -> None:
    redeliveries = memory()
    redeliveries.unsettled(record(delivery("")), DONE)
    assert outcome(again(redeliveries, delivery("", arrival=Arrival.OURS))) is DONE


async def test_a_message_without_an_id_that_another_had_is_not_done_because_an_equal_one_is() -> None:
    redeliveries, running = memory(), record(delivery(""))
    redeliveries.unsettled(record(delivery("")), DONE)
    assert again(redeliveries, delivery("", arrival=Arrival.ABANDONED)) is None
    redeliveries.lost([running])
    assert again(redeliveries, delivery("", arrival=Arrival.ABANDONED)) is running.task, "it is not run beside itself"


@pytest.mark.parametrize("left", [RETRY, None], ids=["it failed", "it was not run"])
async def test_a_message_without_an_id_that_another_had_may_be_one_that_is_not_done(left: Outcome | None) -> None:
    redeliveries, lost = memory(), record(delivery(""))
    redeliveries.lost([lost])
    lost.task.set_result(left)
    assert again(redeliveries, delivery("", arrival=Arrival.ABANDONED)) is lost.task


async def test_what_did_not_come_again_in_time_is_forgotten_so_that_a_copy_is_run(clock: Clock) -> None:
    redeliveries = memory()
    redeliveries.acked(record(delivery("acked")))
    redeliveries.lost([])
    redeliveries.unsettled(record(delivery("done")), DONE)
    redeliveries.opened()
    clock.now += KEEP_FOR + 1
    assert again(redeliveries, delivery("acked")) is None
    assert again(redeliveries, delivery("done")) is None


async def test_time_runs_only_while_there_is_a_link(clock: Clock) -> None:
    redeliveries = memory()
    redeliveries.lost([])
    redeliveries.unsettled(record(), DONE)
    clock.now += 10 * KEEP_FOR
    redeliveries.opened()
    clock.now += KEEP_FOR - 1
    assert outcome(again(redeliveries)) is DONE


async def test_time_begins_anew_with_each_link(clock: Clock) -> None:
    redeliveries = memory()
    redeliveries.opened()
    redeliveries.lost([])
    redeliveries.unsettled(record(), DONE)
    clock.now += 10 * KEEP_FOR
    assert outcome(again(redeliveries)) is DONE, "nothing can have come, for there was no link"


async def test_what_still_runs_is_not_forgotten_and_what_has_ended_is_kept_from_then_on(clock: Clock) -> None:
    redeliveries, running, ended = memory(), record(delivery("running")), record(delivery("ended"))
    redeliveries.lost([running, ended])
    redeliveries.opened()
    clock.now += 10 * KEEP_FOR
    ended.task.set_result(DONE)
    await asyncio.sleep(0)
    clock.now += KEEP_FOR - 1
    assert again(redeliveries, delivery("running")) is running.task
    assert again(redeliveries, delivery("ended")) is ended.task


async def test_all_is_known_that_may_have_been_in_flight_also_what_was_held() -> None:
    redeliveries = memory(2, held=50)
    redeliveries.acked(record(delivery("acked")))
    redeliveries.lost([record(delivery(f"{number}")) for number in range(52)])
    assert all(again(redeliveries, delivery(name)) for name in ("acked", *map(str, range(52))))


async def test_an_ack_that_is_old_is_not_kept(clock: Clock) -> None:
    redeliveries = memory(prefetch=10)
    redeliveries.acked(record(delivery("old")))
    clock.now += KEEP_FOR + 1
    redeliveries.acked(record(delivery("new")))
    assert redeliveries._acked is not None
    assert [key[0] for _, key in redeliveries._acked] == ["new"]


@pytest.mark.parametrize("held", [0, 20])
async def test_the_oldest_are_forgotten_beyond_what_two_lost_links_may_have_had(held: int) -> None:
    redeliveries, most = memory(prefetch=2, held=held), 8 + 2 * held
    redeliveries.lost([record(delivery(f"{number}")) for number in range(most + 2)])
    known = [number for number in range(most + 2) if again(redeliveries, delivery(f"{number}")) is not None]
    assert known == list(range(2, most + 2))


NAMES = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("acked"), NAMES),
        st.tuples(st.just("unsettled"), NAMES),
        st.tuples(st.just("lost"), st.lists(NAMES, max_size=3).map(tuple)),
        st.tuples(st.just("again"), NAMES),
        st.tuples(st.just("later"), st.sampled_from([1.0, KEEP_FOR + 1])),
        st.tuples(st.just("opened"), st.none()),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=200)
@given(STEPS)
def test_no_delivery_makes_more_than_one_that_comes_again_count_as_known(steps: list[tuple[str, object]]) -> None:
    async def walk() -> None:
        redeliveries, had, known = memory(prefetch=3), Counter[str](), Counter[str]()
        clock = Clock()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("app.queue.consume.redeliveries.now", lambda: clock.now)
            for what, value in steps:
                match what, value:
                    case "acked", str(name):
                        had[name] += 1
                        redeliveries.acked(record(delivery(name)))
                    case "unsettled", str(name):
                        had[name] += 1
                        redeliveries.unsettled(record(delivery(name)), DONE)
                    case "lost", tuple(names):
                        had.update(names)
                        redeliveries.lost([record(delivery(name)) for name in names])
                    case "again", str(name):
                        known[name] += again(redeliveries, delivery(name)) is not None
                        assert known[name] <= had[name]
                    case "later", float(seconds):
                        clock.now += seconds
                    case "opened", _:
                        redeliveries.opened()
            redeliveries.opened()
            clock.now += KEEP_FOR + 1
            assert len(remembered(redeliveries)) <= 12
            assert all(not result.done() for result in remembered(redeliveries)), "what is done is forgotten in time"

    asyncio.run(walk())


def remembered(redeliveries: Redeliveries) -> list[Result]:
    redeliveries._forget_old()
    return [memory.result for memory in redeliveries._memories]


def test_a_record_reads_its_history_once() -> None:
    async def read() -> Record:
        return record(delivery(queue_attempts=3, queue_moves=4))

    history = asyncio.run(read()).history
    assert (history.attempts, history.moves) == (3, 4)
