"""A run as text: all that happened in it, and what the core logged, in virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import logging

from core_tests.simulator.invariants import check
from core_tests.simulator.scenario import Scenario
from core_tests.simulator.timeline import VirtualLoop
from core_tests.simulator.world import Run, simulate


def lines_of(run: Run) -> list[str]:
    """The trace, a line for each thing that happened."""
    return [f"{at:10.4f} {what} {' '.join(map(str, args))}" for at, what, args in run.ledger.trace]


def digest(run: Run) -> str:
    """Equal for equal traces, the times to the last bit."""
    return hashlib.sha256(repr(run.ledger.trace).encode()).hexdigest()


def traced(scenario: Scenario) -> tuple[list[str], list[str]]:
    """Run it. Returns the trace with the core's log in it, and what did not hold."""
    log = _Log()
    logger = logging.getLogger("app")
    before = logger.level, logger.propagate
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        run = simulate(scenario)
    finally:
        logger.removeHandler(log)
        logger.setLevel(before[0])
        logger.propagate = before[1]
    merged = sorted([*log.lines, *((line[:10], line) for line in lines_of(run))], key=lambda one: float(one[0]))
    return [line for _, line in merged], check(run)


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        if isinstance(loop, VirtualLoop):
            at = f"{loop.time():10.4f}"
            self.lines.append((at, f"{at}     {loop.name} {record.levelname.lower()}: {record.getMessage()}"))
