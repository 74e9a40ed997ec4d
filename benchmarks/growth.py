"""How the cost of the generated service grows: with the size of messages, queues, threads, prefetch and the backlog."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pika.exceptions import AMQPError

from benchmarks.broker import Broker
from benchmarks.compare import OURS, queues_made
from benchmarks.http_client import free_port
from benchmarks.phases import Trial, check, publish, wait_for_consumers
from benchmarks.process import Contender, VoidError
from benchmarks.project import bake
from benchmarks.report import number
from benchmarks.results import Results
from benchmarks.settings import Settings

PATIENCE = 1800.0
BYTES = 100_000_000
"""Of one step, at most: large messages are fewer."""


@dataclass(frozen=True)
class Step:
    """One point of one axis."""

    axis: str
    value: int
    settings: Settings
    rounds: int

    @property
    def subject(self) -> str:
        """Its key in the results."""
        return f"{self.axis} {self.value}"


AXES = {
    "size": "bytes a message",
    "queues": "queues",
    "threads": "consumer_threads of 8 queues",
    "prefetch": "prefetch",
    "backlog": "messages in the queue",
}
FIGURES = {
    "rate": ("messages/s", "consumed"),
    "CPU": ("µs", "CPU a message"),
    "memory": ("MB", "most memory"),
}


def grow(broker_url: str, queue_type: str, messages: int, backlog: int, rounds: int) -> tuple[list[Step], Results]:
    """Measure each step; those of an axis follow each other, round after round."""
    broker = Broker(broker_url)
    results = Results(broker=broker.version)
    base = Settings(broker_url, queue_type, (), messages)
    run = f"bench{uuid.uuid4().hex[:6]}"
    steps = list(_steps(base, run, backlog, rounds))
    try:
        for axis in AXES:
            for round_number in range(rounds):
                for step in steps:
                    if step.axis == axis and round_number < step.rounds:
                        _measure(results, round_number, step, Trial(OURS, step.settings, step.settings, broker))
    finally:
        for queue in sorted({queue for step in steps for queue in step.settings.queues}):
            broker.delete(queues_made((queue,)))
    return steps, results


def _steps(base: Settings, run: str, backlog: int, rounds: int) -> Iterator[Step]:
    projects = {}
    for count in (1, 10, 50, 100):
        queues = tuple(f"{run}_{count}_{number}" for number in range(count))
        projects[count] = replace(base, queues=queues, project=str(bake(f"growth{count}", list(queues))))
    one = projects[1]
    for size in (100, 1_000, 10_000, 100_000, 1_000_000):
        yield Step("size", size, replace(one, size=size, messages=max(50, min(base.messages, BYTES // size))), rounds)
    for count, settings in projects.items():
        yield Step("queues", count, replace(settings, messages=max(base.messages, 400 * count)), rounds)
    eight = tuple(f"{run}_threads_{number}" for number in range(8))
    for threads in (1, 2, 4, 8):
        project = str(bake(f"threads{threads}", list(eight), threads))
        yield Step("threads", threads, replace(base, queues=eight, project=project), rounds)
    for prefetch in (1, 10, 100, 1_000):
        few = max(200, base.messages // 5) if prefetch == 1 else base.messages
        yield Step("prefetch", prefetch, replace(one, prefetch=prefetch, messages=few), rounds)
    for depth in (10_000, 100_000, 1_000_000):
        if depth <= backlog:
            yield Step("backlog", depth, replace(one, messages=depth), rounds if depth < 1_000_000 else 1)


def _measure(results: Results, round_number: int, step: Step, trial: Trial) -> None:
    settings = replace(step.settings, port=free_port())
    try:
        if not round_number:
            with Contender(OURS, "consume", settings) as process:  # so that all queues are there
                wait_for_consumers(trial, process, settings.queues)
            trial.broker.left(settings.queues)
        publish(trial, settings, PATIENCE)
        with Contender(OURS, "consume", settings) as process:
            result = process.result(PATIENCE)
            memory = process.peak()
        check(trial, settings, result)
    except (VoidError, AMQPError) as error:
        print(f"round {round_number + 1}  {step.subject:16}  VOID {type(error).__name__}: {error}", flush=True)
        trial.broker.delete(settings.queues)
        return
    # From a quarter on: until then, some of many queues may not have been consumed yet.
    count = settings.messages - settings.messages // 4
    figures = {
        "rate": count / (result["last"] - result["quarter"]),
        "CPU": result["cpu_from_quarter"] / count * 1e6,
        "memory": memory,
    }
    results.add(round_number, step.subject, figures)
    shown = "  ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
    print(f"round {round_number + 1}  {step.subject:16}  {shown}", flush=True)


def growth_table(steps: list[Step], results: Results) -> str:
    """Markdown: a table an axis."""
    parts = []
    for axis, title in AXES.items():
        names = [f"{what} ({unit})" for unit, what in FIGURES.values()]
        lines = [f"| {title} | " + " | ".join(names) + " |", "| ---: |" + " ---: |" * len(names)]
        for step in steps:
            if step.axis == axis:
                medians = [results.median(figure, step.subject) for figure in FIGURES]
                cells = ["–" if median is None else number(median) for median in medians]
                lines.append(f"| {step.value:,} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
