"""Messages that were in flight when a process died, on the embedded provider."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pydantic_core
import pytest

from app.queue.consume import quarantine
from app.queue.errors import BrokerUnavailableError
from app.queue.handling import current_delivery
from app.queue.interfaces import Message, Place
from app.queue.policy import MAX_CRASHES, SUSPECT_FROM, group_size
from app.queue.providers.memory.broker import broker
from app.queue.providers.memory.parts import MemoryConsumer
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name, quarantine_name
from core_tests.tools.refusing import refuse
from core_tests.tools.waiting import eventually

BODY = pydantic_core.to_json(audio())


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "LOOK_EVERY", 0.05)


async def test_what_another_process_left_is_run_once_by_itself_and_its_count_ends() -> None:
    handler = UserHandler()
    broker.put("user_channel", Message(BODY, "left"), holder="another")
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert handler.attempts == [("left", 1)]
    assert broker.depth(quarantine_name("user_channel")) == 0


async def test_what_was_in_flight_at_too_many_deaths_is_dead_lettered_and_not_run() -> None:
    handler = UserHandler()
    broker.put("user_channel", Message(BODY, "guilty", {"queue-crashes": MAX_CRASHES - 1}), holder="another")
    async with running((queue_config(), handler)):
        await eventually(lambda: broker.depth(dlq_name("user_channel")) == 1, "it is dead-lettered")
    assert handler.attempts == []
    assert broker.messages(dlq_name("user_channel"))[0].headers["dlq-reason"] == "crashed"


class Beside(UserHandler):
    """Notes how many run side by side, as each begins."""

    def __init__(self, seconds: float = 0.05) -> None:
        super().__init__(self._stay)
        self.at_once: list[int] = []
        self._seconds = seconds
        self._now = 0

    async def _stay(self, _: Any) -> None:
        self._now += 1
        self.at_once.append(self._now)
        await asyncio.sleep(self._seconds)
        self._now -= 1


def leave(count: int, crashes: int) -> None:
    """Put so many messages into the quarantine, as processes that died would have."""
    for number in range(count):
        name = f"{crashes} deaths, {number}"
        broker.put(quarantine_name("user_channel"), Message(BODY, name, {"queue-crashes": crashes}))


async def test_what_was_in_flight_at_one_death_runs_side_by_side_and_beside_others() -> None:
    handler = Beside(0.3)
    leave(4, 1)
    async with running((queue_config(prefetch=5, concurrency=5), handler)) as service:
        await service.publisher("user_channel").publish_message("user_channel", BODY)
        await eventually(lambda: len(handler.handled) == 5, "all are handled")
    assert max(handler.at_once) == 5


@pytest.mark.parametrize("crashes", range(SUSPECT_FROM, MAX_CRASHES))
async def test_suspects_run_in_groups_which_are_smaller_after_each_death(crashes: int) -> None:
    handler = Beside()
    leave(9, crashes)
    async with running((queue_config(concurrency=10), handler)):
        await eventually(lambda: len(handler.handled) == 9, "all are handled")
    assert max(handler.at_once) == group_size(crashes, 10)


async def test_of_different_suspects_the_most_suspicious_says_how_many_run_together() -> None:
    handler = Beside()
    for crashes in (2, 4, 2, 3, 2, 4):
        leave(1, crashes)
    async with running((queue_config(concurrency=10), handler)):
        await eventually(lambda: len(handler.handled) == 6, "all are handled")
    begun = zip(handler.attempts, handler.at_once, strict=True)
    assert [together for (name, _), together in begun if name.startswith("4")] == [1, 1]
    assert broker.depth(quarantine_name("user_channel")) == 0


async def test_nothing_runs_beside_a_suspect_and_what_is_none_does_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quarantine, "ALONE_FOR", 60.0)
    seen: list[str] = []
    ended: list[str] = []

    async def note(_: Any) -> None:
        name = current_delivery().message_id
        if name.startswith("2"):
            assert len(seen) == len(ended), "nothing else runs"
        seen.append(name)
        await asyncio.sleep(0.2)
        ended.append(name)

    handler = UserHandler(note)
    leave(1, 2)
    leave(2, 1)
    async with running((queue_config(concurrency=1, prefetch=1), handler)) as service:
        await service.publisher("user_channel").publish_message("user_channel", BODY)
        await eventually(lambda: len(handler.handled) == 4, "all are handled")
    assert {"1 deaths, 0", "1 deaths, 1"} <= set(seen[: seen.index("2 deaths, 0")])


async def test_a_message_of_the_quarantine_waits_until_its_handlers_context_is_open() -> None:
    class Late(UserHandler):
        opened = False
        tries = 0

        async def __aenter__(self) -> Self:
            Late.tries += 1
            if Late.tries < 4:
                raise ConnectionError("the database is not up yet")
            self.opened = True
            return self

        async def __aexit__(self, *_: object) -> None:
            self.opened = False

    seen: list[bool] = []
    handler = Late(lambda _: seen.append(handler.opened))
    broker.put(quarantine_name("user_channel"), Message(BODY, "left", {"queue-crashes": 1}))
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert seen == [True]


async def test_the_drain_leaves_the_quarantine_as_it_is() -> None:
    handler = UserHandler(lambda _: asyncio.sleep(0.3))
    leave(5, MAX_CRASHES - 1)
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.attempts) == 1, "one runs")
    assert len(handler.handled) == 1
    assert broker.depth(quarantine_name("user_channel")) == 4
    assert broker.depth("user_channel") == 0


async def test_the_next_one_does_not_begin_beside_one_that_runs_when_the_consumers_link_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quarantine, "ALONE_FOR", 0.05)
    start = MemoryConsumer.start_intake
    closing: list[asyncio.Task[None]] = []

    async def lose(consumer: MemoryConsumer) -> None:
        if not closing:
            closing.append(asyncio.create_task(consumer.close()))  # and then the supervisor opens it again
            raise BrokerUnavailableError("not connected to the broker")
        await start(consumer)

    async def slow(_: Any) -> None:
        await asyncio.sleep(2.5)

    handler = UserHandler(slow)
    async with running((queue_config(), handler)) as service:
        monkeypatch.setattr(MemoryConsumer, "start_intake", lose)
        leave(2, MAX_CRASHES - 1)
        await eventually(lambda: bool(closing), "the link is lost while one runs")
        await eventually(lambda: service.readiness() == "ready", "it is there again")
        await asyncio.sleep(0.2)
        assert len(handler.attempts) == 1, "the other one waits"


async def test_a_suspect_that_runs_for_long_keeps_no_other_message_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "ALONE_FOR", 0.05)
    go_on = asyncio.Event()

    async def work(_: Any) -> None:
        if current_delivery().message_id.startswith("2"):
            await go_on.wait()

    handler = UserHandler(work)
    leave(1, 2)
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.attempts) == 1, "the suspect runs")
        leave(2, 1)
        leave(1, 3)
        await eventually(lambda: len(handler.handled) == 2, "what is no suspect is handled meanwhile")
        await asyncio.sleep(0.2)
        assert len(handler.attempts) == 3, "the other suspect waits"
        go_on.set()
        await eventually(lambda: len(handler.handled) == 4, "and is run when the first has ended")


async def test_what_is_held_keeps_nothing_of_the_quarantine_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(_: Any) -> None:
        if current_delivery().message_id.startswith("bad"):
            raise RuntimeError("no")

    refuse(monkeypatch, Place.RETRY)
    handler = UserHandler(work)
    for name in ("bad 1", "bad 2", "good 1", "good 2", "good 3"):
        broker.put(quarantine_name("user_channel"), Message(BODY, name, {"queue-crashes": 1}))
    async with running((queue_config(concurrency=2, prefetch=2), handler)):
        await eventually(lambda: len(handler.handled) == 3, "the good ones are handled")


async def test_a_quarantine_that_takes_nothing_does_not_stop_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    full = False
    refuse(monkeypatch, Place.QUARANTINE, lambda: full)
    monkeypatch.setattr(quarantine, "ROOM_TIMEOUT", 0.3)
    running_on = asyncio.Event()

    async def work(_: Any) -> None:
        if current_delivery().message_id == "long":
            await running_on.wait()

    handler = UserHandler(work)
    async with running((queue_config(), handler)) as service:
        publisher = service.publisher("user_channel")
        await publisher.publish_message("user_channel", BODY, message_id="long")
        await eventually(lambda: len(handler.attempts) == 1, "one runs")
        for crashes in (2, 2, MAX_CRASHES - 1):
            leave(1, crashes)
        await asyncio.sleep(0.15)  # it waits until it is quiet
        full = True
        for _ in range(5):
            await publisher.publish_message("user_channel", BODY)
        await eventually(lambda: len(handler.handled) >= 5, "the queue goes on")
        full = False
        running_on.set()
        await eventually(lambda: len(handler.handled) == 9, "all are handled")
