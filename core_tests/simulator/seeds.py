"""Running seeds, some at a time, and what is said of them all."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from core_tests.simulator.invariants import check
from core_tests.simulator.scenario import MINUTE, Scenario, scenario_of
from core_tests.simulator.world import simulate


@dataclass(frozen=True, slots=True)
class Result:
    """How a seed's run went. `wrong`: what did not hold; empty if all did."""

    seed: int
    wrong: tuple[str, ...]
    figures: tuple[tuple[str, float], ...]
    cpu: float


def wrong_with(scenario: Scenario) -> tuple[tuple[str, ...], dict[str, float]]:
    """What does not hold in a scenario, and its figures."""
    try:
        run = simulate(scenario)
    except Exception:  # noqa: BLE001 - told, with its seed
        return (f"the simulation broke: {traceback.format_exc()}",), {}
    ledger = run.ledger
    fates = ledger.fates.values()
    return tuple(check(run)), {
        "messages": len(scenario.messages),
        "processes": scenario.processes,
        "faults": ledger.faults,
        "virtual minutes": run.seconds / MINUTE,
        "deaths and drains": ledger.deaths,
        "redeliveries": sum(fate.redelivered for fate in fates),
        "handler calls": sum(fate.calls for fate in fates),
    }


def run_seed(seed: int) -> Result:
    """Run one."""
    logging.disable()
    began = time.process_time()
    wrong, figures = wrong_with(scenario_of(seed))
    return Result(seed, wrong, tuple(figures.items()), time.process_time() - began)


def run_seeds(seeds: Iterable[int], jobs: int = 0) -> Iterator[Result]:
    """Run them, in as many processes as there are cores, and give each result as it comes."""
    # What dies in a run is never closed, and stays: after an hour a process had 1.8 GB. So each ends after 200 runs.
    with multiprocessing.get_context("fork").Pool(jobs or os.cpu_count(), maxtasksperchild=25) as pool:
        yield from pool.imap_unordered(run_seed, seeds, chunksize=8)


def kind_of_wrong(text: str) -> str:
    """What did not hold, without what differs from run to run."""
    return re.sub(r"[\d.]+", "#", text.splitlines()[0])


def table(results: Sequence[Result]) -> str:
    """The distribution of what was run."""
    lines = [f"{len(results)} seeds, {sum(result.cpu for result in results) / len(results) * 1000:.0f} ms of CPU each"]
    lines.append(f"{'':20} {'min':>8} {'median':>8} {'max':>8}")
    names = dict.fromkeys(name for result in results for name, _ in result.figures)
    for name in names:
        values = [dict(result.figures)[name] for result in results if result.figures]
        lines.append(f"{name:20} {min(values):8.1f} {median(values):8.1f} {max(values):8.1f}")
    wrong = Counter(kind_of_wrong(text) for result in results for text in result.wrong[:1])
    lines += [f"{count} x {text}" for text, count in wrong.most_common()]
    return "\n".join(lines)
