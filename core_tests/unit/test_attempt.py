"""One attempt: what the handler and the middleware raise becomes an outcome, and the pause is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.queue.consume.attempt import Attempt
from app.queue.consume.deadlines import Deadlines
from app.queue.consume.in_flight import InFlight
from app.queue.consume.pause import Pause
from app.queue.handling import Reject, current_delivery
from app.queue.instrumentation.events import ConsumingPaused, ConsumingResumed, Event, add_listener
from app.queue.interfaces import Delivery, Message
from app.queue.messages.headers import History
from app.queue.messages.outcome import DONE, Action, Outcome, Reason
from app.queue.middleware import HandleMiddleware, HandleNext
from app.queue.processor import MessageProcessor
from core_tests.tools.example import queue_config
from core_tests.unit.records import delivery

WORK = b'{"type": "work"}'


class Handler:
    """Raises what it is told to."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.attempts: list[int] = []

    async def work(self, message: dict[str, Any]) -> None:
        self.attempts.append(current_delivery().attempt)
        if self.error is not None:
            raise self.error


class Bench:
    """An attempt, and what is around it."""

    def __init__(self, *middleware: HandleMiddleware, **keys: Any) -> None:
        self.handler = Handler()
        self.in_flight = InFlight()
        config = queue_config("q", **keys)
        self.pause = Pause(config.pause)
        dispatcher = MessageProcessor()
        dispatcher.register_handler("q", self.handler)
        self.attempt = Attempt(config, dispatcher, middleware, self.pause, Deadlines(config))

    async def run(self, given: Delivery | None = None, *, in_pause: bool = False) -> Outcome:
        record = self.in_flight.add(given or delivery(body=WORK), "consumer")
        record.in_pause = in_pause
        try:
            return await self.attempt.run(record)
        finally:
            self.in_flight.remove(record)


@pytest.fixture
async def events() -> AsyncIterator[list[Event]]:
    seen: list[Event] = []
    remove = add_listener(seen.append)
    yield seen
    remove()


async def test_a_handler_that_returns_is_done() -> None:
    bench = Bench()
    assert await bench.run() is DONE
    assert bench.handler.attempts == [1]


async def test_the_handler_is_told_which_attempt_it_is() -> None:
    bench = Bench()
    await bench.run(delivery(body=WORK, queue_attempts=2))
    assert bench.handler.attempts == [3]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1), asyncio.CancelledError(), KeyboardInterrupt()])
async def test_whatever_a_handler_raises_is_an_outcome(error: BaseException) -> None:
    bench = Bench()
    bench.handler.error = error
    outcome = await bench.run()
    assert (outcome.action, outcome.error, outcome.history.attempts) == (Action.RETRY, error, 1)


async def test_a_message_that_no_handler_can_take_is_an_outcome_and_no_call() -> None:
    bench = Bench(max_message_bytes=20)
    assert (await bench.run(delivery(body=b"no JSON"))).reason is Reason.NOT_JSON
    assert (await bench.run(delivery(body=WORK + b" " * 20))).reason is Reason.TOO_LARGE
    assert bench.handler.attempts == []


async def test_the_end_of_its_own_task_is_no_failure_of_the_message() -> None:
    bench, begun = Bench(), asyncio.Event()

    async def hang(message: Delivery, call_next: HandleNext) -> Outcome:
        begun.set()
        await asyncio.sleep(60)
        return await call_next(message)

    bench = Bench(hang)
    task = asyncio.create_task(bench.run())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_middleware_raises_is_an_outcome() -> None:
    async def broken(message: Delivery, call_next: HandleNext) -> Outcome:
        await call_next(message)
        raise ValueError("the exporter is away")

    outcome = await Bench(broken).run()
    assert outcome.action is Action.RETRY
    assert isinstance(outcome.error, ValueError)


async def test_a_middleware_may_pass_on_another_delivery() -> None:
    async def other(given: Delivery, call_next: HandleNext) -> Outcome:
        message = Message(WORK, "id", {"queue-attempts": 1})
        return await call_next(Delivery("q", message, token=given.token))

    bench = Bench(other)
    bench.handler.error = RuntimeError("no")
    assert (await bench.run(delivery(body=b"broken"))).history.attempts == 2


async def test_what_is_not_run_is_seen_by_the_middleware_which_may_decide_otherwise_or_fail() -> None:
    seen: list[Action] = []

    async def see(given: Delivery, call_next: HandleNext) -> Outcome:
        outcome = await call_next(given)
        seen.append(outcome.action)
        if given.message.message_id == "broken":
            raise ValueError("no")
        return DONE if given.message.message_id == "done" else outcome

    bench, decided = Bench(see), Outcome(Action.QUARANTINE, History(crashes=1))
    outcomes = {}
    for name in ("plain", "done", "broken"):
        record = bench.in_flight.add(delivery(name), "consumer")
        outcomes[name] = await bench.attempt.not_run(record, decided)
        bench.in_flight.remove(record)
    assert outcomes == {"plain": decided, "done": DONE, "broken": decided}
    assert seen == [Action.QUARANTINE] * 3
    assert bench.handler.attempts == []


async def test_a_failure_in_a_pause_is_not_held_against_its_message() -> None:
    bench = Bench(pause={"after": 1, "initial_delay": 1, "max_delay": 100})
    bench.handler.error = RuntimeError("no")
    await bench.run()
    assert bench.pause.active
    outcome = await bench.run(delivery("other", WORK, queue_attempts=1), in_pause=True)
    assert (outcome.action, outcome.history.attempts) == (Action.RETRY, 1)


async def test_what_was_begun_before_the_pause_counts() -> None:
    bench = Bench(pause={"after": 1, "initial_delay": 1, "max_delay": 100})
    bench.handler.error = RuntimeError("no")
    await bench.run()
    outcome = await bench.run(delivery("other", WORK, queue_attempts=1))
    assert outcome.history.attempts == 2


async def test_a_failure_in_a_pause_does_not_count_when_its_link_is_lost_meanwhile_either() -> None:
    bench = Bench(pause={"after": 1, "initial_delay": 1, "max_delay": 100})
    bench.handler.error = RuntimeError("no")
    await bench.run()
    record = bench.in_flight.add(delivery("probe", WORK), "consumer")
    record.in_pause = True
    bench.in_flight.lose("consumer")
    assert (await bench.attempt.run(record)).history.attempts == 0


async def test_who_listens_hears_when_consuming_pauses_and_when_it_goes_on(events: list[Event]) -> None:
    bench = Bench(pause={"after": 2})
    bench.handler.error = RuntimeError("no")
    await bench.run(delivery("a", WORK))
    assert events == []
    await bench.run(delivery("b", WORK))
    assert events == [ConsumingPaused("q", 2)]
    bench.handler.error = None
    await bench.run(delivery("c", WORK))
    await bench.run(delivery("d", WORK))
    assert events == [ConsumingPaused("q", 2), ConsumingResumed("q")]


async def test_what_can_never_succeed_says_nothing_of_the_handler() -> None:
    bench = Bench(pause={"after": 1})
    bench.handler.error = Reject("never")
    await bench.run()
    await bench.run(delivery(body=b"no JSON"))
    assert not bench.pause.active


async def test_a_delivery_that_a_middleware_made_is_in_the_pause_like_its_own() -> None:
    async def other(given: Delivery, call_next: HandleNext) -> Outcome:
        return await call_next(Delivery("q", given.message, token=given.token))

    bench = Bench(other)
    bench.handler.error = RuntimeError("no")
    assert (await bench.run(delivery(body=WORK, queue_attempts=1), in_pause=True)).history.attempts == 1


async def test_a_middleware_that_fails_after_the_handler_begins_a_pause_as_well() -> None:
    async def broken(given: Delivery, call_next: HandleNext) -> Outcome:
        await call_next(given)
        raise ConnectionError("its store is away")

    bench = Bench(broken, pause={"after": 3})
    for number in range(3):
        await bench.run(delivery(f"{number}", WORK))
    assert bench.pause.active


async def test_a_failure_that_a_middleware_takes_for_done_begins_none() -> None:
    async def content(given: Delivery, call_next: HandleNext) -> Outcome:
        await call_next(given)
        return Outcome(Action.ACK)

    bench = Bench(content, pause={"after": 3})
    bench.handler.error = RuntimeError("no")
    for number in range(5):
        await bench.run(delivery(f"{number}", WORK))
    assert not bench.pause.active
