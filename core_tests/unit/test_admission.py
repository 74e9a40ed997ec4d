"""Which deliveries may run in a pause, which wait, and which are put aside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.queue.config import PauseConfig
from app.queue.consume import pause as module
from app.queue.consume.admission import Admission
from app.queue.consume.in_flight import Record
from app.queue.consume.pause import Pause
from core_tests.tools.waiting import eventually
from core_tests.unit.records import delivery, record


def paused(initial_delay: float = 3600.0) -> Pause:
    pause = Pause(PauseConfig(after=1, initial_delay=initial_delay, max_delay=3600))
    assert pause.failed("a")
    return pause


def admitting(pause: Pause, *, full: bool = False) -> Admission:
    return Admission(1, pause, lambda: full)


def failed(**headers: Any) -> Record:
    """The record of a message that has failed before."""
    return record(delivery(queue_attempts=1, **headers))


async def waiting(admission: Admission, waits: Record) -> asyncio.Task[bool]:
    task = asyncio.create_task(admission.turn(waits))
    await asyncio.sleep(0.02)
    assert not task.done()
    return task


async def test_without_a_pause_it_is_everybodys_turn() -> None:
    admission, one = admitting(Pause(PauseConfig())), failed()
    assert await admission.turn(one)
    assert await admission.may_run(one)
    assert not one.probe


@pytest.mark.parametrize("full", [True, False])
async def test_what_never_failed_runs_in_a_pause_and_is_no_probe(*, full: bool) -> None:
    admission, one = admitting(paused(), full=full), record()
    assert await admission.turn(one)
    assert await admission.may_run(one)
    assert not one.probe


@pytest.mark.parametrize("headers", [{"queue_attempts": 1}, {"queue_first_failed_at": "2026-01-02T03:04:05Z"}])
async def test_what_failed_before_waits_also_if_that_did_not_count(headers: dict[str, Any]) -> None:
    admission, one = admitting(paused()), record(delivery(**headers))
    (await waiting(admission, one)).cancel()
    assert not await admission.may_run(one)


async def test_of_those_that_failed_one_becomes_the_probe_when_it_is_due_and_the_others_wait() -> None:
    admission, one, other = admitting(paused(0.001)), failed(), failed()
    assert await admission.turn(one)
    assert await admission.may_run(one)
    task = await waiting(admission, other)
    assert (one.probe, other.probe) == (True, False)
    task.cancel()


async def test_what_never_failed_keeps_the_pace_of_a_pause_and_a_probe_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paced: list[None] = []

    async def pace(_: Pause) -> None:
        paced.append(None)

    monkeypatch.setattr(Pause, "pace", pace)
    admission, probe = admitting(paused(0.001)), failed()
    assert await admission.may_run(record())
    assert len(paced) == 1
    assert await admission.turn(probe)
    assert await admission.may_run(probe)
    assert probe.probe
    assert len(paced) == 1


async def test_what_fills_the_window_beside_those_that_wait_has_one_of_them_put_aside() -> None:
    full: list[bool] = []
    admission = Admission(1, paused(), lambda: bool(full))
    crashed = await waiting(admission, failed(queue_crashes=1))
    waits = [await waiting(admission, failed()) for _ in range(2)]
    full.append(True)
    assert await admission.turn(record())
    assert await waits[0] is False
    full.clear()
    await asyncio.sleep(0.02)
    assert not waits[1].done()
    assert not crashed.done()
    for task in (crashed, waits[1]):
        task.cancel()


async def test_when_the_pause_ends_all_go_on_and_none_is_a_probe() -> None:
    pause, records = paused(), [failed() for _ in range(3)]
    admission = admitting(pause)
    tasks = [await waiting(admission, one) for one in records]
    pause.succeeded()
    assert all(await asyncio.gather(*tasks))
    assert not any(one.probe for one in records)


async def test_the_next_one_is_the_probe_when_the_last_has_failed() -> None:
    pause, one, other = paused(0.001), failed(), failed()
    admission = admitting(pause)
    await admission.turn(one)
    task = await waiting(admission, other)
    pause.end_probe()
    await eventually(task.done, "it is its turn")
    assert other.probe


async def test_when_nothing_more_comes_what_failed_is_put_aside_one_by_one() -> None:
    pause = paused()
    admission, records = admitting(pause, full=True), [failed() for _ in range(5)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert not any(await asyncio.gather(*(admission.turn(one) for one in records)))
    assert loop.time() - began >= (len(records) - 1) / module.PACE - 0.001


async def test_nothing_is_put_aside_once_more_may_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 5)
    pause, full = paused(), True
    admission = Admission(1, pause, lambda: full)
    assert not await admission.turn(failed())
    task = await waiting(admission, failed())  # for the pace
    other = await waiting(admission, failed())
    full = False
    assert not await task
    await asyncio.sleep(0.3)
    assert not other.done()
    pause.succeeded()
    assert await other


async def test_what_was_in_flight_at_a_death_is_never_put_aside() -> None:
    admission = admitting(paused(), full=True)
    (await waiting(admission, failed(queue_crashes=2))).cancel()


@pytest.mark.parametrize("full", [True, False])
async def test_a_lost_delivery_waits_no_longer_and_is_not_put_aside(
    *, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACE", 0.001)
    pause, one = paused(), failed()
    admission = admitting(pause, full=full)
    await pause.pace()
    task = await waiting(admission, one)
    one.lost = True
    pause.wake()
    await eventually(task.done, "it waits no longer")
    assert task.result()
    assert not one.probe


@pytest.mark.parametrize("full", [True, False])
async def test_the_drain_ends_all_waiting(*, full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", 0.001)
    pause, one = paused(), failed()
    await pause.pace()
    admission = admitting(pause, full=full)
    task = await waiting(admission, one)
    admission.drain(1)
    await eventually(task.done, "it waits no longer")
    assert task.result()
    assert not one.probe


async def test_who_is_admitted_has_a_slot_and_who_gives_up_has_none() -> None:
    admission = admitting(Pause(PauseConfig()))
    assert admission.at_once
    assert await admission.admit(record())
    assert not admission.at_once
    waits = asyncio.create_task(admission.admit(record()))
    await asyncio.sleep(0.02)
    waits.cancel()
    await asyncio.wait([waits])
    admission.slots.release()
    assert admission.at_once


async def test_a_slot_is_given_back_where_a_pause_began_meanwhile() -> None:
    pause = Pause(PauseConfig(after=1, initial_delay=3600, max_delay=3600))
    admission = admitting(pause)
    await admission.slots.acquire()
    waits = asyncio.create_task(admission.admit(failed()))
    await asyncio.sleep(0.02)
    pause.failed("a")
    admission.slots.release()
    await asyncio.sleep(0.02)
    assert not waits.done()
    assert not admission.slots.locked()
    waits.cancel()
