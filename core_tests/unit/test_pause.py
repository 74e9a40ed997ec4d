"""When consuming pauses, how it probes, and what ends it."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.config import PauseConfig
from app.queue.consume import pause as module
from app.queue.consume.pause import PACE, Pause
from core_tests.tools.waiting import eventually

AT_ONCE = 0.001
LATER = 3600.0


def pause_of(after: int = 3, initial_delay: float = AT_ONCE, max_delay: float = LATER) -> Pause:
    return Pause(PauseConfig(after=after, initial_delay=initial_delay, max_delay=max_delay))


def paused(initial_delay: float = AT_ONCE, max_delay: float = LATER) -> Pause:
    pause = pause_of(1, initial_delay, max_delay)
    assert pause.failed("a")
    return pause


async def probe(pause: Pause) -> None:
    await eventually(pause.begin_probe, "a probe is due")


class Clock:
    """The pause's clock. It stands still."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "now", lambda: clock.now)
    return clock


def due_after(pause: Pause, clock: Clock, seconds: float) -> bool:
    clock.now += seconds
    return pause.begin_probe()


async def test_enough_different_failures_begin_a_pause_and_only_one_of_them_says_so() -> None:
    pause = pause_of(after=3)
    assert [pause.failed(message) for message in "abcd"] == [False, False, True, False]
    assert pause.active


async def test_one_bad_message_never_begins_a_pause_however_often_it_fails() -> None:
    pause = pause_of(after=2)
    assert not any(pause.failed("a") for _ in range(100))
    assert not pause.active


async def test_a_success_between_starts_the_count_again() -> None:
    pause = pause_of(after=2)
    pause.failed("a")
    assert not pause.succeeded()
    assert not pause.failed("b")
    assert not pause.active


async def test_after_zero_means_never_and_remembers_nothing() -> None:
    pause = pause_of(after=0)
    assert not any(pause.failed(f"{number}") for number in range(1000))
    assert not pause.active
    assert len(pause._failed) == 0


async def test_no_probe_is_due_before_its_delay() -> None:
    assert not paused(initial_delay=LATER).begin_probe()


async def test_only_one_probe_is_under_way_at_a_time() -> None:
    pause = paused()
    await probe(pause)
    assert not any(pause.begin_probe() for _ in range(20))
    pause.end_probe()
    await probe(pause)


def test_a_probe_is_due_after_the_initial_delay(clock: Clock) -> None:
    pause = paused(initial_delay=4)
    assert not due_after(pause, clock, 3.9)
    assert due_after(pause, clock, 0.1)


def test_the_delay_doubles_with_each_probe_up_to_max_delay(clock: Clock) -> None:
    pause = paused(initial_delay=4, max_delay=10)
    clock.now += 4
    for delay in (8, 10, 10):
        assert pause.begin_probe()
        pause.failed("b")
        pause.end_probe()
        assert not due_after(pause, clock, delay - 0.1)
        clock.now += 0.1


def test_a_success_ends_the_pause_says_so_once_and_the_next_pause_begins_anew(clock: Clock) -> None:
    pause = paused(initial_delay=4)
    clock.now += 4
    assert pause.begin_probe()
    assert pause.succeeded()
    pause.end_probe()
    assert not pause.active
    assert not pause.succeeded()
    assert pause.failed("c")
    assert not due_after(pause, clock, 3.9)
    assert due_after(pause, clock, 0.1)


async def test_those_who_wait_are_woken_by_a_success() -> None:
    pause = paused(initial_delay=LATER)
    waiting = [asyncio.create_task(pause.wait(makes_room=True)) for _ in range(3)]
    await asyncio.sleep(0)
    pause.succeeded()
    await asyncio.gather(*waiting)


async def test_those_who_wait_are_woken_by_the_end_of_a_probe_that_never_ran() -> None:
    pause = paused()
    await probe(pause)
    waiting = asyncio.create_task(pause.wait(makes_room=True))
    await asyncio.sleep(0)
    pause.end_probe()
    await waiting


async def test_waiting_ends_when_a_probe_is_due() -> None:
    pause = paused(initial_delay=0.01)
    await pause.wait(makes_room=True)
    await probe(pause)


async def test_who_waits_no_more_is_not_the_one_that_is_woken() -> None:
    pause = paused(initial_delay=0.01)
    await pause.wait(makes_room=True)
    await probe(pause)
    waiting = asyncio.create_task(pause.wait(makes_room=True))
    await asyncio.sleep(0)
    pause.wake_one()
    await asyncio.wait_for(waiting, 10)


async def test_at_the_pace_there_are_so_many_a_second_and_the_first_waits_for_nothing() -> None:
    pause, turns = paused(initial_delay=LATER), 21
    loop = asyncio.get_running_loop()
    began = loop.time()
    await pause.pace()
    assert pause._next_at == pytest.approx(began + 1 / PACE, abs=0.5 / PACE)
    await asyncio.gather(*(pause.pace() for _ in range(turns - 1)))
    assert loop.time() - began >= (turns - 1) / PACE - 0.001


async def test_a_success_ends_the_pace_for_all_that_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 1 / LATER)
    pause = paused(initial_delay=LATER)
    await pause.pace()
    waiting = [asyncio.create_task(pause.pace()) for _ in range(3)]
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in waiting)
    pause.succeeded()
    await asyncio.gather(*waiting)
