"""The way of a delivery through its parts: what is run, what is not, and what is told of the drain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.queue.consume.worker import QueueWorker
from app.queue.errors import BrokerRefusedError, DeliveryLostError
from app.queue.instrumentation.events import DrainEnded, DrainStarted, Event, add_listener
from app.queue.interfaces import Arrival, Claims, Delivery, Place
from app.queue.messages.headers import History, history_of
from app.queue.messages.outcome import DONE
from app.queue.policy import MAX_CRASHES, put_back
from app.queue.processor import MessageProcessor
from core_tests.tools.example import queue_config
from core_tests.tools.waiting import eventually
from core_tests.unit.records import Broker, Consumer, delivery

WORK = b'{"type": "work"}'
OURS, ABANDONED = Arrival.OURS, Arrival.ABANDONED


class Handler:
    """Waits until it is released."""

    def __init__(self) -> None:
        self.attempts = 0
        self.released = asyncio.Event()

    async def work(self, message: dict[str, Any]) -> None:
        self.attempts += 1
        await self.released.wait()

    async def fail(self, message: dict[str, Any]) -> None:
        raise RuntimeError("no")


class Bench:
    """A worker that is open, and what is around it."""

    def __init__(self, claims: Claims, **keys: Any) -> None:
        config = queue_config("q", **keys)
        self.handler, self.consumer, self.broker = Handler(), Consumer(), Broker()
        dispatcher = MessageProcessor()
        dispatcher.register_handler("q", self.handler)
        self.worker = QueueWorker(config, self.consumer, self.broker, dispatcher, claims)

    def begin(self, given: Delivery, link: object = None) -> asyncio.Task[Any]:
        """The delivery comes."""
        return asyncio.create_task(self.worker.handle(given, link))

    async def run(self, given: Delivery) -> None:
        """The delivery comes, and nothing holds its handler."""
        self.handler.released.set()
        await self.begin(given)

    async def lose_link(self) -> None:
        await self.worker._let_go()

    def places(self) -> list[Place]:
        """Where messages have been moved to."""
        return [place for _, place, _ in self.broker.moved]


async def bench(claims: Claims = Claims(), **keys: Any) -> Bench:  # noqa: B008 - it is frozen
    made = Bench(claims, **keys)
    await made.worker.open()
    return made


def work(arrival: Arrival = Arrival.NEW, name: str = "id", **headers: Any) -> Delivery:
    return delivery(name, WORK, arrival, **headers)


async def test_a_new_delivery_is_run_and_acked() -> None:
    one = await bench()
    await one.run(work())
    assert (one.handler.attempts, one.broker.acked, one.places()) == (1, 1, [])
    assert len(one.worker.in_flight) == 0


async def test_an_abandoned_delivery_is_not_run_but_goes_to_the_quarantine() -> None:
    one = await bench()
    await one.worker.quarantine_filled(0.01)  # from the connect
    await one.run(work(ABANDONED, queue_crashes=1))
    assert (one.handler.attempts, one.places()) == (0, [Place.QUARANTINE])
    assert history_of(one.broker.moved[0][0]).crashes == 2
    await asyncio.wait_for(one.worker.quarantine_filled(60), 1)


@pytest.mark.parametrize("arrival", Arrival)
async def test_what_has_died_too_often_is_not_run_however_it_comes(arrival: Arrival) -> None:
    """Its dead-letter queue was full, and what held it for that gave it back before its broker took it."""
    one = await bench(Claims(knows_holder=True))
    await one.run(work(arrival, queue_crashes=MAX_CRASHES))
    assert (one.handler.attempts, one.places()) == (0, [Place.DLQ])
    assert history_of(one.broker.moved[0][0]).crashes == MAX_CRASHES


async def test_what_the_quarantine_puts_back_itself_is_no_reason_for_another_look() -> None:
    one = await bench()
    await one.worker.quarantine_filled(0.01)  # from the connect
    suspect = work(queue_crashes=2)
    await one.worker.handle(suspect, "reader", put_back(history_of(suspect.message)))
    assert one.places() == [Place.QUARANTINE]
    assert not one.worker._quarantine_filled.is_set()


async def test_what_was_on_its_way_to_us_is_run() -> None:
    one = await bench()
    await one.run(work(OURS))
    assert (one.handler.attempts, one.places()) == (1, [])


@pytest.mark.parametrize(("knows", "run"), [(True, 1), (False, 0)], ids=["it knows", "it guesses"])
async def test_what_was_abandoned_before_is_ours_only_where_the_broker_knows_it(*, knows: bool, run: int) -> None:
    one = await bench(Claims(knows_holder=knows))
    await one.worker.quarantine_filled(0.01)  # from the connect
    await one.run(work(OURS, queue_crashes=1))
    assert one.handler.attempts == run
    assert one.worker._quarantine_filled.is_set() is not knows, "it lies there, and can be run at once"


@pytest.mark.parametrize("arrival", [OURS, ABANDONED])
async def test_what_still_runs_when_it_comes_again_is_not_run_beside_itself(arrival: Arrival) -> None:
    one = await bench()
    first = one.begin(work())
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    await one.lose_link()
    one.broker.errors.append(DeliveryLostError("gone"))
    await one.worker.open()
    second = one.begin(work(arrival))
    await asyncio.sleep(0.02)
    assert not second.done()
    one.handler.released.set()
    assert await first is DONE
    await second
    assert (one.handler.attempts, one.broker.acked, one.places()) == (1, 1, [])


async def test_what_had_not_begun_when_the_link_was_lost_begins_when_it_comes_again() -> None:
    one = await bench(concurrency=1, prefetch=2)
    running, waiting = one.begin(work(name="a")), one.begin(work(name="b"))
    await eventually(lambda: one.handler.attempts == 1, "one runs")
    await one.lose_link()
    one.broker.errors.append(DeliveryLostError("gone"))
    one.handler.released.set()
    await asyncio.gather(running, waiting)
    assert one.handler.attempts == 1
    await one.worker.open()
    await one.run(work(OURS, "a"))
    await one.run(work(OURS, "b"))
    assert (one.handler.attempts, one.broker.acked) == (2, 2)


async def test_what_came_by_a_reader_outlasts_the_consumers_link() -> None:
    one = await bench(concurrency=1, prefetch=1)
    running, waiting = one.begin(work(name="a")), one.begin(work(name="b"), link="reader")
    await eventually(lambda: one.handler.attempts == 1, "one runs")
    await one.lose_link()
    assert len(one.worker.in_flight) == 1
    one.handler.released.set()
    await asyncio.gather(running, waiting)
    assert one.handler.attempts == 2


async def test_a_probe_that_is_lost_makes_room_for_the_next() -> None:
    one = await bench(pause={"after": 1, "initial_delay": 0.001})
    one.worker.pause.failed("a")
    probe = one.begin(work(queue_attempts=1))
    await eventually(lambda: one.handler.attempts == 1, "the probe runs")
    await one.lose_link()
    one.broker.errors.append(DeliveryLostError("gone"))
    one.handler.released.set()
    await probe
    assert not one.worker.pause.active
    assert not one.worker.pause._probing


async def test_in_a_pause_what_never_failed_runs_beside_what_waits() -> None:
    one = await bench(concurrency=1, prefetch=10, pause={"after": 1, "initial_delay": 3600, "max_delay": 3600})
    one.worker.pause.failed("a")
    waiting = [one.begin(work(name=f"{number}", queue_attempts=1)) for number in range(5)]
    await one.run(work())
    await asyncio.gather(*waiting)
    assert one.handler.attempts == 6


async def test_in_a_pause_what_failed_is_put_aside_while_nothing_else_comes() -> None:
    one = await bench(prefetch=3, concurrency=3, pause={"after": 1, "initial_delay": 3600, "max_delay": 3600})
    one.worker.pause.failed("a")
    waiting = [one.begin(work(name=f"{number}", queue_attempts=1)) for number in range(3)]
    await eventually(lambda: len(one.broker.moved) == 1, "one is put aside")
    await asyncio.sleep(0.1)
    ((message, place, delay),) = one.broker.moved
    assert (place, history_of(message).attempts) == (Place.RETRY, 1)
    assert delay in one.worker.config.retry.delays()
    assert one.handler.attempts == 0
    one.worker.pause.succeeded()
    one.handler.released.set()
    await asyncio.gather(*waiting)
    assert one.handler.attempts == 2


async def test_what_fails_in_a_pause_is_not_held_against_it() -> None:
    one = await bench(pause={"after": 1, "initial_delay": 3600, "max_delay": 3600})
    one.worker.pause.failed("a")
    await one.begin(delivery("id", b'{"type": "fail"}'))
    ((message, place, _),) = one.broker.moved
    assert (place, history_of(message).attempts) == (Place.RETRY, 0)
    assert history_of(message).has_failed


async def test_what_came_by_a_reader_whose_loss_is_not_known_yet_is_not_run_beside_itself() -> None:
    one = await bench()
    first = one.begin(work(queue_crashes=1), link="reader")
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    one.broker.errors.append(DeliveryLostError("gone"))
    second = one.begin(work(ABANDONED, queue_crashes=1), link="reader")
    await asyncio.sleep(0.02)
    assert not second.done()
    one.handler.released.set()
    await asyncio.gather(first, second)
    assert (one.handler.attempts, one.broker.acked, one.places()) == (1, 1, [])


@pytest.mark.parametrize(("confirms", "moved"), [(True, [Place.QUARANTINE]), (False, [])], ids=["a copy", "its ack"])
async def test_a_death_is_counted_of_what_comes_again_beside_a_message_that_is_settled(
    *, confirms: bool, moved: list[Place]
) -> None:
    """It is a copy, which somebody had in flight when he died; or, if acks are not confirmed, that ack was lost."""
    one = await bench(Claims(confirms_acks=confirms))
    first = one.begin(work())
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    second = one.begin(work(ABANDONED), "reader")
    one.handler.released.set()
    await asyncio.gather(first, second)
    assert (one.handler.attempts, one.places()) == (1, moved)


async def test_what_is_decided_already_is_not_run() -> None:
    one = await bench()
    await one.worker.handle(work(queue_crashes=3), "reader", put_back(History(crashes=3)))
    assert (one.handler.attempts, one.places()) == (0, [Place.QUARANTINE])
    assert history_of(one.broker.moved[0][0]).crashes == 3


async def test_in_a_drain_what_was_in_flight_at_a_death_goes_back_to_the_quarantine() -> None:
    one = await bench(concurrency=1, prefetch=2)
    tasks = [one.begin(work(name="a")), one.begin(work(name="b", queue_crashes=2), link="reader")]
    await eventually(lambda: one.handler.attempts == 1, "one runs")
    draining = asyncio.create_task(one.worker.drain(5.0))
    await eventually(lambda: not one.consumer.receives, "nothing is received any more")
    one.handler.released.set()
    await asyncio.gather(draining, *tasks)
    ((message, place, _),) = one.broker.moved
    assert (place, history_of(message).crashes, message.message_id) == (Place.QUARANTINE, 2, "b")


async def test_in_a_drain_what_has_not_begun_goes_back_as_it_was_and_who_listens_is_told() -> None:
    seen: list[Event] = []
    remove = add_listener(seen.append)
    one = await bench(concurrency=1, prefetch=2)
    tasks = [one.begin(work(name="a")), one.begin(work(name="b", queue_attempts=2))]
    await eventually(lambda: one.handler.attempts == 1, "one runs")
    draining = asyncio.create_task(one.worker.drain(5.0))
    await eventually(lambda: not one.consumer.receives, "nothing is received any more")
    one.handler.released.set()
    await draining
    await asyncio.gather(*tasks)
    remove()
    ((message, place, _),) = one.broker.moved
    assert (place, history_of(message).attempts, message.message_id) == (Place.QUEUE, 2, "b")
    assert (one.handler.attempts, one.broker.acked) == (1, 1)
    assert seen == [DrainStarted("q", 2), DrainEnded("q", 0)]
    assert not one.worker.consumes


async def test_what_outlasts_the_drain_is_named_and_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []
    remove = add_listener(seen.append)
    one = await bench()
    task = one.begin(work(name="slow"))
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    await one.worker.drain(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    remove()
    assert seen == [DrainStarted("q", 1), DrainEnded("q", 1)]
    assert "message slow: still running after 0.05 s" in caplog.text
    assert one.broker.acked == 0


async def test_what_outlasts_the_drain_on_a_lost_link_is_cut_off_too() -> None:
    one = await bench()
    task = one.begin(work())
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    await one.lose_link()
    await one.worker.drain(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_drain_puts_back_at_once_what_waits_for_a_slot() -> None:
    one = await bench(concurrency=1, prefetch=5)
    running = one.begin(work(name="0"))
    await eventually(lambda: one.handler.attempts == 1, "one runs")
    waiting = [one.begin(work(name=f"{number}")) for number in range(1, 5)]
    await asyncio.sleep(0)
    ended: list[Event] = []
    remove = add_listener(ended.append)
    await one.worker.drain(0.2)
    remove()
    await asyncio.gather(*waiting)
    assert one.places() == [Place.QUEUE] * 4
    assert one.handler.attempts == 1
    assert DrainEnded("q", 1) in ended
    await asyncio.wait([running])


async def test_it_is_quiet_when_nothing_runs_but_what_is_held() -> None:
    one = await bench()
    one.broker.errors += [BrokerRefusedError("full")] * 1000
    failing = one.begin(delivery("bad", b'{"type": "fail"}'))
    running = one.begin(work())
    await eventually(lambda: len(one.worker.held) == 1 and one.handler.attempts == 1, "one is held, one runs")
    waiting = asyncio.create_task(one.worker.quiet(60))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    one.broker.errors.clear()
    one.handler.released.set()
    await waiting
    await asyncio.gather(failing, running)
    await one.worker.quiet(0.01)


async def test_the_wait_until_it_is_quiet_is_bounded() -> None:
    one = await bench()
    running = one.begin(work())
    await eventually(lambda: one.handler.attempts == 1, "it runs")
    await one.worker.quiet(0.01)
    assert not running.done()
    one.handler.released.set()
    await running
