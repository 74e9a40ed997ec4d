"""Seeds of the simulator, and that it is what it says: the same seed is the same run, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import pytest

from core_tests.simulator.mutants import MUTANTS, applied
from core_tests.simulator.scenario import MINUTE, scenario_of
from core_tests.simulator.seeds import wrong_with
from core_tests.simulator.shrinking import shrunk
from core_tests.simulator.timeline import Timeline, VirtualLoop
from core_tests.simulator.tracing import digest, traced
from core_tests.simulator.world import simulate
from core_tests.tools.project import python_path

SEEDS = 150
BATCH = 15
MUTANT_SEEDS = 120
"""Within so many seeds a mutant is noticed."""
SAME = (7, 8, 9, 10)
"""Seeds of both brokers."""


@pytest.fixture(autouse=True)
def _no_log() -> Iterator[None]:
    """The core says a lot of what happens to it, and a log that is read costs more than the rest."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_all_holds_for_every_seed(first: int) -> None:
    wrong = {seed: found for seed in range(first, first + BATCH) if (found := wrong_with(scenario_of(seed))[0])}
    assert not wrong, "see more by: python -m core_tests.simulator --seed SEED --trace"


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_the_core_is_noticed(name: str) -> None:
    with applied(name):
        noticed = next((seed for seed in range(MUTANT_SEEDS) if wrong_with(scenario_of(seed))[0]), None)
    assert noticed is not None


def test_the_same_seed_is_the_same_run() -> None:
    here = [digest(simulate(scenario_of(seed))) for seed in SAME]
    assert {scenario_of(seed).broker for seed in SAME} == {"push", "polled"}
    assert here == [digest(simulate(scenario_of(seed))) for seed in SAME]
    program = (
        "from core_tests.simulator.scenario import scenario_of\n"
        "from core_tests.simulator.tracing import digest\n"
        "from core_tests.simulator.world import simulate\n"
        f"print(*(digest(simulate(scenario_of(seed))) for seed in {SAME}))"
    )
    environment = {**os.environ, "PYTHONPATH": python_path(), "PYTHONHASHSEED": "4711"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == here


def test_a_run_is_large_enough_to_mean_something() -> None:
    scenarios = [scenario_of(seed) for seed in range(1000)]
    assert median(len(scenario.messages) for scenario in scenarios) >= 30
    assert median(scenario.processes for scenario in scenarios) >= 2
    assert median(len(scenario.faults) for scenario in scenarios) >= 3
    assert median(scenario.calm_at for scenario in scenarios) >= 5 * MINUTE


def test_what_goes_wrong_is_shrunk_to_what_it_needs() -> None:
    scenario = replace(scenario_of(1), faults=scenario_of(1).faults[:2], messages=scenario_of(1).messages[:16])
    with applied("what is done is not acked"):
        smaller = shrunk(scenario)
        assert wrong_with(smaller)[0]
    assert (len(smaller.messages), len(smaller.faults)) == (1, 0)


def test_a_trace_has_what_the_core_logs_in_it() -> None:
    logging.disable(logging.NOTSET)
    lines, wrong = traced(scenario_of(0))
    assert wrong == []
    assert any("connected" in line for line in lines)
    assert any(" runs m" in line for line in lines)


def test_virtual_time_costs_none() -> None:
    timeline, woken = Timeline(), []

    async def sleeps() -> None:
        await asyncio.sleep(3600.0)
        woken.append(timeline.now)

    began = time.monotonic()
    VirtualLoop(timeline, "one").create_task(sleeps())
    timeline.run(until=7200.0)
    assert woken == [3600.0]
    assert time.monotonic() - began < 60.0


def test_what_is_dead_runs_no_more() -> None:
    timeline, ran = Timeline(), []
    loop = VirtualLoop(timeline, "one")

    async def runs() -> None:
        try:
            while True:
                ran.append(timeline.now)
                await asyncio.sleep(1.0)
        finally:
            ran.append(-1.0)

    task = loop.create_task(runs())
    timeline.later(2.5, setattr, loop, "dead", True)
    timeline.run(until=10.0)
    assert ran == [0.0, 1.0, 2.0]
    assert not task.done()
    loop.dead = False
    task.cancel()
    timeline.run(until=20.0)


def test_a_thread_can_not_be_simulated() -> None:
    with pytest.raises(NotImplementedError):
        VirtualLoop(Timeline(), "one").run_in_executor(None, print)
