"""Two instances of the service on one queue, with handlers that compute: how near they come to what the cores allow.

What they can do at most is computed before, from one instance alone: all that the machine computed meanwhile, broker
and harness included, divided by the messages, is what a message costs. So many cores do so many of those.
"""

from __future__ import annotations

import os
import statistics
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace

from benchmarks.broker import Broker
from benchmarks.compare import OURS, queues_made
from benchmarks.http_client import free_port
from benchmarks.phases import PATIENCE, Trial, publish, wait_for_consumers
from benchmarks.process import Contender, VoidError
from benchmarks.project import bake
from benchmarks.settings import Settings

BURN = 0.001
"""Seconds of CPU that a handler takes."""
LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Run:
    """What so many instances did: messages a second, and the machine's CPU for one, in seconds."""

    rate: float
    cpu: float


def instances(broker_url: str, queue_type: str, messages: int, rounds: int) -> str:
    """Measure one and two in turn, and say what was found."""
    broker = Broker(broker_url)
    queue = f"bench{uuid.uuid4().hex[:6]}"
    settings = Settings(broker_url, queue_type, (queue,), messages, burn=BURN)
    settings = replace(settings, project=str(bake("one", [queue])))
    trial = Trial(OURS, settings, settings, broker)
    runs: dict[int, list[Run]] = {1: [], 2: []}
    try:
        for number in range(rounds):
            for count, done in runs.items():
                done.append(_run(trial, count))
                print(f"round {number + 1}  {count} instances  {done[-1].rate:.0f}/s", flush=True)
    finally:
        broker.delete(queues_made((queue,)))
    return said(runs[1], runs[2], os.cpu_count() or 1)


def said(alone: list[Run], both: list[Run], cores: int) -> str:
    """The table."""
    shares = [two.rate / (cores / one.cpu) for one, two in zip(alone, both, strict=True)]
    cpu = statistics.median(run.cpu for run in alone)
    one, two = (statistics.median(run.rate for run in runs) for runs in (alone, both))
    ms = cpu * 1e3
    return f"""one instance: {one:,.0f}/s; a message costs the machine {ms:.2f} ms of CPU (the handler: {BURN * 1e3:g})
ceiling, computed: {cores} cores / {ms:.2f} ms = {cores / cpu:,.0f}/s
two instances: {two:,.0f}/s, {statistics.median(shares):.2f} of that
computed, not measured: 16 cores, {16 / cpu:,.0f}/s"""


def _run(trial: Trial, count: int) -> Run:
    """From when a tenth of the queue is gone until a tenth is left."""
    settings = trial.settings
    publish(trial, settings)
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(Contender(OURS, "serve", replace(settings, port=free_port())))
            wait_for_consumers(trial, process, settings.queues)
        began, busy, there = _when_left(trial, settings.messages * 9 // 10)
        ended, busy_then, left = _when_left(trial, settings.messages // 10)
    trial.broker.delete(settings.queues)
    return Run((there - left) / (ended - began), (busy_then - busy) / (there - left))


def _when_left(trial: Trial, most: int) -> tuple[float, float, int]:
    """The time, the CPU so far, and the messages that wait, as soon as those are not more than `most`."""
    deadline = time.monotonic() + PATIENCE
    while (left := trial.broker.depth(trial.settings.queue)) > most:
        if time.monotonic() > deadline:
            raise VoidError(f"{left} messages are left")
        time.sleep(LOOK_EVERY)
    return time.perf_counter(), _busy(), left


def _busy() -> float:
    """Seconds of CPU that all cores have computed so far."""
    import psutil  # noqa: PLC0415 - of the benchmarks' environment; the tests of this file do without

    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)
