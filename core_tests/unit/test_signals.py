"""What the lifespan changes of the process, and that all is as it was in the end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.queue import setup
from app.queue.run.process import GARBAGE_FROM, SWITCH_INTERVAL, DrainSignals, long_lived, short_turns
from app.queue.run.service import QueueService
from app.queue.setup import queue_lifespan
from core_tests.tools.example import UserHandler, queue_config, running
from core_tests.tools.waiting import eventually


@pytest.fixture
def server() -> Iterator[list[int]]:
    """The signals that the server's own handlers got."""
    got: list[int] = []
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in old:
        signal.signal(number, lambda number, _: got.append(number))
    yield got
    for number, handler in old.items():
        signal.signal(number, handler)


def of_the_process() -> tuple[object, object, float]:
    return signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), sys.getswitchinterval()


async def test_a_service_by_itself_changes_nothing_of_the_process(server: list[int]) -> None:
    before = of_the_process()
    async with running((queue_config(), UserHandler())):
        assert of_the_process() == before
    assert of_the_process() == before


async def test_the_lifespan_changes_the_process_and_puts_everything_back(
    server: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queues.yaml").write_text("{queues: [{name: q, type: memory}], drain: {delay: 0}}")
    monkeypatch.chdir(tmp_path)
    before = of_the_process()
    app = FastAPI()
    async with queue_lifespan(register=lambda processor: processor.register_handler("q", UserHandler()))(app):
        during = of_the_process()
        assert not set(before) & set(during)
        assert during[2] == pytest.approx(SWITCH_INTERVAL)
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: server == [signal.SIGTERM], "the server gets it, too")
        assert app.state.queue_service.readiness() == "draining"
    assert of_the_process() == before


@pytest.mark.parametrize("stuck", [False, True])
@pytest.mark.parametrize("signalled", [False, True])
async def test_a_process_ends_at_once_only_if_a_signal_asked_it_to_and_a_thread_will_not(
    server: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stuck: bool, signalled: bool
) -> None:
    (tmp_path / "queues.yaml").write_text("{queues: [{name: q, type: memory, enable_consumer: false}]}")
    monkeypatch.chdir(tmp_path)
    ended: list[bool] = []
    stop = QueueService.stop

    async def stopped(self: QueueService) -> list[str]:
        await stop(self)
        return ["consumers-1-handler_0"] if stuck else []

    monkeypatch.setattr(QueueService, "stop", stopped)
    monkeypatch.setattr(setup, "end_at_once", lambda: ended.append(True))
    async with queue_lifespan(register=lambda _: None)(FastAPI()):
        if signalled:
            os.kill(os.getpid(), signal.SIGINT)
            await eventually(lambda: bool(server), "it is there")
    assert ended == [True] * (stuck and signalled)


@pytest.mark.parametrize(("number", "delayed"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
async def test_a_signal_begins_the_drain_and_sigterm_reaches_the_server_after_the_delay(
    server: list[int], number: signal.Signals, delayed: bool
) -> None:
    drains: list[float] = []
    loop = asyncio.get_running_loop()
    with DrainSignals(lambda: drains.append(loop.time()), 0.5) as signals:
        assert not signals.received
        os.kill(os.getpid(), number)
        await eventually(lambda: bool(drains), "the drain begins")
        assert signals.received
        await eventually(lambda: server == [number], "the server gets it")
        assert (loop.time() - drains[0] >= 0.45) is delayed


async def test_a_second_signal_is_passed_on_at_once(server: list[int]) -> None:
    with DrainSignals(lambda: None, 60.0):
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
        assert server == []
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: server == [signal.SIGTERM], "the server gets the second")


async def test_a_signal_that_the_server_ignores_stays_ignored(server: list[int]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with DrainSignals(lambda: None, 0.0):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


async def test_outside_of_the_main_thread_signals_are_left_alone(server: list[int]) -> None:
    async def enter() -> bool:
        with DrainSignals(lambda: None, 0.0):
            return of_the_process() == before

    before = of_the_process()
    assert await asyncio.to_thread(lambda: asyncio.run(enter()))


def test_turns_that_are_shorter_already_stay_as_they_are() -> None:
    old = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL / 10)
    try:
        with short_turns():
            assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL / 10)
    finally:
        sys.setswitchinterval(old)


def test_what_was_there_at_the_start_is_left_out_by_the_garbage_collector() -> None:
    threshold = gc.get_threshold()
    assert gc.get_freeze_count() == 0
    with long_lived():
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] == GARBAGE_FROM
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == threshold


@pytest.mark.parametrize("first", [0, GARBAGE_FROM + 1])
def test_who_collects_less_garbage_or_none_goes_on_so(first: int) -> None:
    threshold = gc.get_threshold()
    gc.set_threshold(first, *threshold[1:])
    try:
        with long_lived():
            assert gc.get_threshold()[0] == first
    finally:
        gc.set_threshold(*threshold)
