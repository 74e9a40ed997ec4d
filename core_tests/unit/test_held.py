"""What can't be settled: others get its room, up to a bound, and it is said how many there are, and why."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from app.queue.consume import held as module
from app.queue.consume.held import Held
from app.queue.consume.in_flight import Record
from app.queue.consume.intake import HoldBack, Intake
from app.queue.errors import BrokerRefusedError, BrokerUnavailableError
from core_tests.tools.example import queue_config
from core_tests.unit.records import Consumer, delivery, record

FULL = BrokerRefusedError("dlq_q is full")


class Bench:
    """The register of a queue whose consumer is open."""

    def __init__(self, **keys: Any) -> None:
        self.consumer = Consumer()
        self.intake = Intake(self.consumer)
        self.held = Held("q", queue_config("q", held=keys).held, self.intake)

    async def hold(self, count: int, body: bytes = b"{}") -> list[Record]:
        records = [record(delivery(f"{number}", body)) for number in range(count)]
        for one in records:
            await self.held.hold(one, FULL)
        return records


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.intake.open()
    return made


async def test_each_that_is_held_makes_room_for_another_once(bench: Bench) -> None:
    records = await bench.hold(3)
    for one in records:
        await bench.held.hold(one, FULL)
    assert bench.consumer.held == [1, 2, 3]


async def test_what_is_settled_needs_no_room_any_more(bench: Bench) -> None:
    one, other = await bench.hold(2)
    await bench.held.release(one)
    await bench.held.release(one)
    await bench.held.release(other)
    assert bench.consumer.held == [1, 2, 1, 0]
    assert (len(bench.held), bench.held.why, bench.held.detail, bench.held.seconds) == (0, "", None, 0.0)


@pytest.mark.parametrize("keys", [{"messages": 3}, {"bytes": 30}], ids=["messages", "bytes"])
async def test_at_the_bound_nothing_more_is_received_until_one_is_settled(
    keys: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(**keys)
    await bench.intake.open()
    records = await bench.hold(3, b"0123456789")
    assert HoldBack.HELD in bench.intake.reasons
    assert not bench.consumer.receives
    assert "nothing more is received" in (bench.held.detail or "")
    await bench.held.hold(record(), FULL)
    assert caplog.text.count("which is the bound") == 1
    await bench.held.release(records[0])
    await bench.held.release(records[1])
    assert bench.consumer.receives
    assert bench.consumer.held[-1] == 2


async def test_health_can_say_how_many_why_and_since_when(bench: Bench) -> None:
    await bench.hold(1)
    await asyncio.sleep(0.05)
    await bench.hold(1)
    assert bench.held.detail == "2 messages can't be settled: dlq_q is full"
    assert bench.held.seconds >= 0.05
    assert await asyncio.to_thread(lambda: bench.held.seconds) >= 0.05


async def test_each_is_said_once_and_all_of_them_now_and_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await bench.hold(2)
    for again in (one, other) * 3:
        await bench.held.hold(again, FULL)
    assert caplog.text.count("is held") == 2
    assert "can't be settled" not in caplog.text
    monkeypatch.setattr(module, "SAY_EVERY", 0.0)
    await bench.held.hold(other, BrokerUnavailableError("no more connections"))
    assert "2 messages can't be settled: no more connections (for 0 s)" in caplog.text


async def test_of_many_only_the_first_are_named(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, module.__name__):
        await bench.hold(module.AT_A_TIME + 30)
    assert caplog.text.count("is held") == module.AT_A_TIME


async def test_a_link_that_is_lost_meanwhile_does_no_harm(bench: Bench) -> None:
    await bench.hold(1)
    await bench.consumer.close()
    await bench.hold(2)
    assert len(bench.held) == 3


async def test_the_more_are_held_the_longer_each_waits_and_one_success_lets_two_try(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Longest:
        def uniform(self, least: float, longest: float) -> float:
            assert least == 0.0
            waits.append(longest)
            return 3600.0

    waits: list[float] = []
    monkeypatch.setattr(module, "chance", Longest())
    records = await bench.hold(10 * module.AT_A_TIME)
    waiting = [asyncio.create_task(bench.held.wait(tries)) for tries in (1, 2, 30)]
    await asyncio.sleep(0.02)
    assert waits == [2.0, 4.0, 10 * module.MAX_WAIT]
    assert not any(task.done() for task in waiting)
    await bench.held.release(records[0])
    await asyncio.gather(*waiting[: module.WAKES])
    assert not waiting[module.WAKES].done()
    bench.held.try_again()
    await asyncio.gather(*waiting)
    assert not bench.held._waiting


async def test_while_few_are_held_each_is_tried_soon(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[tuple[float, float]] = []

    def uniform(*bounds: float) -> float:
        waits.append((bounds[0], bounds[1]))
        return 0.0

    monkeypatch.setattr("app.queue.consume.held.chance.uniform", uniform)
    await bench.hold(1)
    for tries in (1, 2, 30):
        await bench.held.wait(tries)
    assert waits == [(0.0, 0.2), (0.0, 0.4), (0.0, module.MAX_WAIT)]
    assert not bench.held._waiting
