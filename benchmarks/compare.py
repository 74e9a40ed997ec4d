"""All contenders side by side: every measurement is made with each in turn, then the next, round after round."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from pika.exceptions import AMQPError

from benchmarks.broker import Broker
from benchmarks.phases import PHASES, Trial
from benchmarks.process import CannotError, VoidError
from benchmarks.project import bake
from benchmarks.results import Results
from benchmarks.settings import Settings

OURS = "template"
CELERY_DELAYED = [f"celery_delayed_{number}" for number in range(28)]
"""What a Celery worker declares besides when it sees a quorum queue. Deleted, unless they were there before."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    broker_url: str
    queue_type: str
    names: list[str]
    phases: list[str]
    rounds: int
    messages: int
    many: int = 1
    """Queues in the phase `start`."""
    plain: bool = False
    """Without uvloop and httptools."""


def compare(plan: Plan) -> Results:
    """Measure, print each figure as it comes, and delete all queues that were made."""
    broker = Broker(plan.broker_url)
    measured = Results(broker=broker.version)
    run = f"bench{uuid.uuid4().hex[:6]}"
    settings = Settings(plan.broker_url, plan.queue_type, (), plan.messages, plain=plan.plain)
    foreign = [name for name in CELERY_DELAYED if broker.depth(name) < 0]
    trials = {name: _trial(name, run, broker, settings, plan.many) for name in plan.names}
    try:
        for number in range(plan.rounds):
            for phase in plan.phases:
                # Another one begins in each round, so that nobody always has the same place.
                for name in plan.names[number % len(plan.names) :] + plan.names[: number % len(plan.names)]:
                    if name not in measured.reasons.get(phase, {}):
                        _measure(measured, number, phase, trials[name])
    finally:
        for trial in trials.values():
            for queues in (trial.settings.queues, trial.many.queues):
                broker.delete(queues_made(queues), [f"{queues[0]}_exchange", *queues])
        broker.delete(foreign, [*foreign, "celery_delayed_delivery"] if foreign == CELERY_DELAYED else [])
    return measured


def _trial(name: str, run: str, broker: Broker, settings: Settings, many: int) -> Trial:
    one = replace(settings, queues=(f"{run}_{name}",))
    lots = replace(settings, queues=tuple(f"{run}_{name}_{number}" for number in range(many)))
    if name == OURS:
        one = replace(one, project=str(bake("one", list(one.queues))))
        lots = replace(lots, project=str(bake("many", list(lots.queues))))
    return Trial(name, one, lots, broker)


def _measure(measured: Results, number: int, phase: str, trial: Trial) -> None:
    try:
        figures = PHASES[phase](trial)
    except CannotError as error:
        measured.reasons.setdefault(phase, {})[trial.name] = str(error)
        print(f"round {number + 1}  {phase:10}  {trial.name:18}  - {error}", flush=True)
    except (VoidError, AMQPError) as error:
        print(f"round {number + 1}  {phase:10}  {trial.name:18}  VOID {type(error).__name__}: {error}", flush=True)
        trial.broker.delete(trial.settings.queues)
    else:
        measured.add(number, trial.name, figures)
        shown = "  ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
        print(f"round {number + 1}  {phase:10}  {trial.name:18}  {shown}", flush=True)


def queues_made(queues: tuple[str, ...]) -> list[str]:
    """The names of all queues that any contender made for these."""
    delays = [1000, 2000, 4000, 8000]
    return [
        name
        for queue in queues
        for name in (
            *(queue, f"dlq_{queue}", f"parked_{queue}", f"quarantine_{queue}", f"{queue}_dead"),
            *(f"retry_{queue}_{delay}" for delay in delays),
            *(f"{queue}.DQ", f"{queue}.XQ"),
        )
    ]
