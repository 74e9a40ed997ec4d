"""When consuming pauses, how it probes, and what ends it."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.config import PauseConfig
from app.queue.pause import Pause
from tests.tools.waiting import eventually

AT_ONCE = 0.001
LATER = 3600.0


def pause_of(after: int = 3, initial_delay: float = AT_ONCE, max_delay: float = LATER) -> Pause:
    return Pause(PauseConfig(after=after, initial_delay=initial_delay, max_delay=max_delay))


def paused(initial_delay: float = AT_ONCE, max_delay: float = LATER) -> Pause:
    pause = pause_of(1, initial_delay, max_delay)
    assert pause.failed("a", probe=False)
    return pause


async def probe(pause: Pause) -> None:
    await eventually(pause.begin_probe, "a probe is due")


class Clock:
    """The pause's clock. It stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("app.queue.pause.time", clock)
    return clock


def due_after(pause: Pause, clock: Clock, seconds: float) -> bool:
    clock.now += seconds
    return pause.begin_probe()


def test_enough_different_failures_begin_a_pause_and_only_one_of_them_says_so() -> None:
    pause = pause_of(after=3)
    assert [pause.failed(message, probe=False) for message in "abcd"] == [False, False, True, False]
    assert pause.active


def test_one_bad_message_never_begins_a_pause_however_often_it_fails() -> None:
    pause = pause_of(after=2)
    assert not any(pause.failed("a", probe=False) for _ in range(100))
    assert not pause.active


def test_a_success_between_starts_the_count_again() -> None:
    pause = pause_of(after=2)
    pause.failed("a", probe=False)
    assert not pause.succeeded()
    assert not pause.failed("b", probe=False)
    assert not pause.active


def test_after_zero_means_never_and_remembers_nothing() -> None:
    pause = pause_of(after=0)
    assert not any(pause.failed(f"{number}", probe=False) for number in range(1000))
    assert not pause.active
    assert len(pause._failed) == 0


def test_no_probe_is_due_before_its_delay() -> None:
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


def test_the_delay_doubles_with_each_probe_that_fails_up_to_max_delay(clock: Clock) -> None:
    pause = paused(initial_delay=4, max_delay=10)
    clock.now += 4
    for delay in (8, 10, 10):
        assert pause.begin_probe()
        pause.failed("b", probe=True)
        pause.end_probe()
        assert not due_after(pause, clock, delay - 0.1)
        clock.now += 0.1


def test_a_failure_of_another_message_leaves_the_delay_as_it_is(clock: Clock) -> None:
    pause = paused(initial_delay=4)
    clock.now += 4
    assert pause.begin_probe()
    pause.failed("b", probe=False)
    pause.end_probe()
    assert due_after(pause, clock, 4)


def test_a_success_ends_the_pause_says_so_once_and_the_next_pause_begins_anew(clock: Clock) -> None:
    pause = paused(initial_delay=4)
    pause.failed("b", probe=True)
    assert pause.succeeded()
    assert not pause.active
    assert not pause.succeeded()
    assert pause.failed("c", probe=False)
    assert due_after(pause, clock, 4)


async def test_those_who_wait_are_woken_by_a_success() -> None:
    pause = paused(initial_delay=LATER)
    waiting = [asyncio.create_task(pause.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    pause.succeeded()
    await asyncio.gather(*waiting)


async def test_those_who_wait_are_woken_by_the_end_of_a_probe_that_never_ran() -> None:
    pause = paused()
    await probe(pause)
    waiting = asyncio.create_task(pause.wait())
    await asyncio.sleep(0)
    pause.end_probe()
    await waiting


async def test_waiting_ends_when_a_probe_is_due() -> None:
    pause = paused(initial_delay=0.01)
    await pause.wait()
    await probe(pause)
