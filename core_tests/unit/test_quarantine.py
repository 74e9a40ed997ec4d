"""What is run out of the quarantine, when, and beside what; and that its readers are closed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from app.queue.consume import quarantine as module
from app.queue.consume.quarantine import Quarantine
from app.queue.errors import BrokerUnavailableError
from app.queue.interfaces import Claims, DeadLetterQueueHandler, Delivery, Message, Place
from core_tests.tools.example import queue_config
from core_tests.tools.waiting import eventually
from core_tests.unit.test_worker import Bench, work

ALONE = 4
"""Deaths after which a message runs alone."""


class Reader(DeadLetterQueueHandler):
    """Has these messages; says that there are `more`. The receive of this number fails, once."""

    def __init__(self, *lying: Delivery, more: int = 0, fails_at: int = 0) -> None:
        super().__init__("q", queue_config("q"), Place.QUARANTINE)
        self.lying = deque(lying)
        self.more = more
        self.fails_at = fails_at
        self.received = 0
        self.closes = 0

    async def depth(self) -> int:
        return len(self.lying) + self.more

    async def receive(self) -> Delivery | None:
        self.received += 1
        if self.received == self.fails_at:
            raise BrokerUnavailableError("the link is lost")
        return self.lying.popleft() if self.lying else None

    async def close(self) -> None:
        self.closes += 1


@pytest.fixture(autouse=True)
def _looks_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)


@asynccontextmanager
async def looking(reader: Reader, old: Reader | None = None, *, opened: bool = True) -> AsyncIterator[Bench]:
    """A worker for two at a time, and what looks into its quarantine. What is put there, the reader has again."""
    one = Bench(Claims(), concurrency=2, prefetch=4)

    def put(message: Message, place: Place) -> None:
        if place is Place.QUARANTINE:
            (old or reader).lying.append(Delivery("q", message, identity=message.message_id))

    one.broker.on_move = put
    if opened:
        await one.worker.open()
    looks = asyncio.create_task(Quarantine(one.worker, reader, old).run())
    await asyncio.sleep(0)
    try:
        yield one
    finally:
        one.handler.released.set()
        looks.cancel()
        with suppress(asyncio.CancelledError):
            await looks


async def until_runs(one: Bench, count: int) -> None:
    await eventually(lambda: one.handler.attempts == count, f"{count} are run")


async def test_the_readers_are_closed_in_the_end() -> None:
    reader, old = Reader(), Reader()
    async with looking(reader, old, opened=False):
        assert (reader.closes, old.closes) == (0, 0)
    assert (reader.closes, old.closes) == (1, 1)


async def test_the_old_place_is_emptied_and_its_reader_closed_when_all_that_came_by_it_is_settled() -> None:
    reader, old = Reader(), Reader(work(name="a", queue_crashes=1))
    async with looking(reader, old) as one:
        await until_runs(one, 1)
        await asyncio.sleep(0.02)
        assert old.closes == 0
        one.handler.released.set()
        await eventually(lambda: old.closes == 1, "it is closed")
        assert one.broker.acked == 1
    assert (reader.closes, old.closes) == (1, 1)


async def test_the_old_place_is_not_done_with_while_suspects_lie_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE_FOR", 0.01)
    old = Reader(*[work(name=name, queue_crashes=ALONE) for name in "ab"])
    async with looking(Reader(), old) as one:
        await until_runs(one, 1)
        await asyncio.sleep(0.05)
        one.handler.released.set()
        await until_runs(one, 2)


async def test_no_more_is_taken_out_than_can_be_run() -> None:
    reader = Reader(*[work(name=name, queue_crashes=1) for name in "abc"])
    async with looking(reader) as one:
        await until_runs(one, 2)
        await asyncio.sleep(0.02)
        assert reader.received == 2
        one.handler.released.set()
        await until_runs(one, 3)


async def test_a_place_may_hold_less_than_it_says(caplog: pytest.LogCaptureFixture) -> None:
    async with looking(Reader(work(queue_crashes=1), more=2)) as one:
        one.handler.released.set()
        await eventually(lambda: one.broker.acked == 1, "it is handled")
    assert not caplog.records


async def test_before_a_suspect_is_taken_nothing_more_is_received_and_what_runs_has_ended() -> None:
    reader = Reader()
    async with looking(reader) as one:
        first = one.begin(work(name="a"))
        await until_runs(one, 1)
        reader.lying.append(work(name="b", queue_crashes=ALONE))
        one.worker.look_into_quarantine()
        await eventually(lambda: not one.consumer.receives, "nothing more is received")
        await asyncio.sleep(0.02)
        assert (reader.received, one.handler.attempts) == (1, 1), "it was looked at once, and put back"
        one.handler.released.set()
        await first
        await until_runs(one, 2)


async def test_while_a_suspect_runs_nothing_more_is_received_for_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE_FOR", 60.0)
    async with looking(Reader(work(queue_crashes=ALONE))) as one:
        await until_runs(one, 1)
        await asyncio.sleep(0.02)
        assert not one.consumer.receives
        one.handler.released.set()
        await eventually(lambda: one.consumer.receives, "it is received again")


async def test_one_group_runs_at_a_time_and_its_end_brings_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALONE_FOR", 0.01)
    reader = Reader(*[work(name=name, queue_crashes=ALONE) for name in "ab"])
    async with looking(reader) as one:
        await until_runs(one, 1)
        await eventually(lambda: one.consumer.receives, "it has been alone for long enough")
        received = reader.received
        await asyncio.sleep(0.05)
        assert (reader.received, one.handler.attempts) == (received, 1)
        one.handler.released.set()
        await until_runs(one, 2)


async def test_a_group_that_was_begun_to_be_taken_is_run_though_the_link_breaks() -> None:
    reader = Reader(work(name="a", queue_crashes=2), fails_at=3)
    async with looking(reader) as one:
        one.handler.released.set()
        await eventually(lambda: one.broker.acked == 1, "it is handled")
    assert one.handler.attempts == 1


async def test_a_link_that_breaks_before_ends_the_look() -> None:
    reader = Reader(work(name="a", queue_crashes=2), fails_at=2)
    async with looking(reader) as one:
        one.handler.released.set()
        await eventually(lambda: reader.received == 2, "it breaks")
        await asyncio.sleep(0.02)
        assert one.handler.attempts == 0
        one.worker.look_into_quarantine()
        await until_runs(one, 1)
