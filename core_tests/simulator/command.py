"""`python -m core_tests.simulator`: run seeds, or one seed with all that happens in it.

--seeds 0-9999        run them all; exit with 1 if one goes wrong, and say how to run it
--seed 123 --trace    one, with its trace and the core's log
--seed 123 --shrink   the shortest scenario that goes wrong likewise
"""

from __future__ import annotations

import argparse
import logging
import time

from core_tests.simulator.scenario import Scenario, scenario_of
from core_tests.simulator.seeds import Result, run_seeds, table
from core_tests.simulator.shrinking import shrunk
from core_tests.simulator.tracing import traced

SHOWN = 3
"""Seeds that went wrong whose shortest trace is printed. The others are named."""


def main() -> int:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m core_tests.simulator", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seeds", help="from-to")
    which.add_argument("--seed", type=int)
    parser.add_argument("--jobs", type=int, default=0, help="processes; as many as there are cores, if not given")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    args = parser.parse_args()
    if args.seeds is not None:
        first, _, last = args.seeds.partition("-")
        return many(range(int(first), int(last or first) + 1), args.jobs)
    scenario = scenario_of(args.seed)
    if args.shrink:
        logging.disable()
        scenario = shrunk(scenario)
        logging.disable(logging.NOTSET)
    return one(scenario, trace=args.trace or args.shrink)


def many(seeds: range, jobs: int) -> int:
    """Run them all. Returns what to exit with."""
    began, results = time.monotonic(), list[Result]()
    for result in run_seeds(seeds, jobs):
        results.append(result)
        if result.wrong:
            print(f"seed {result.seed}: {result.wrong[0]}", flush=True)
    print(table(results), f"{time.monotonic() - began:.0f} s", sep="\n")
    wrong = sorted((result for result in results if result.wrong), key=lambda result: result.seed)
    for result in wrong[:SHOWN]:
        logging.disable()
        scenario = shrunk(scenario_of(result.seed))
        logging.disable(logging.NOTSET)
        print(f"\nseed {result.seed}, with what it does not need left out:")
        one(scenario, trace=True)
        print(f"run it again by: python -m core_tests.simulator --seed {result.seed} --trace")
    return 1 if wrong else 0


def one(scenario: Scenario, *, trace: bool) -> int:
    """Run one scenario, and print what went wrong. Returns what to exit with."""
    lines, wrong = traced(scenario)
    if trace:
        print(f"{scenario.broker}, {scenario.processes} processes, {dict(scenario.keys)}")
        print(*scenario.messages, *scenario.faults, *lines, sep="\n")
    print(*(wrong or ["all holds"]), sep="\n")
    return 1 if wrong else 0
