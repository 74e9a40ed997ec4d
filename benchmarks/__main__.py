"""`python -m benchmarks compare|quick|growth|instances`: what `make bench` and its kin call. `--help` says more."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.chart import chart, growth_chart
from benchmarks.compare import OURS, Plan, compare
from benchmarks.contenders import TITLES
from benchmarks.growth import grow, growth_table
from benchmarks.instances import instances
from benchmarks.machine import about
from benchmarks.phases import PHASES
from benchmarks.report import growth_page, page, table

DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
BARE = "bare"


def main() -> int:
    """Parse the command line, and measure."""
    common = argparse.ArgumentParser(add_help=False)
    broker_url = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")
    common.add_argument("--broker-url", default=broker_url, help="default: $RABBITMQ_URL, or localhost")
    common.add_argument("--queue-type", choices=["quorum", "classic"], default="quorum")
    common.add_argument("--out", type=Path, default=DOCS, help="folder for tables and charts")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)

    comparing = commands.add_parser("compare", parents=[common], help="all contenders, all rows")
    comparing.add_argument("--rounds", type=int, default=5)
    comparing.add_argument("--messages", type=int, default=20_000, help="of a round; some rows take a part of them")
    comparing.add_argument("--many", type=int, default=50, help="queues to start with")
    comparing.add_argument("--contenders", type=_list(TITLES), default=list(TITLES), help=",".join(TITLES))
    comparing.add_argument("--phases", type=_list(PHASES), default=list(PHASES), help=",".join(PHASES))
    comparing.add_argument("--plain", action="store_true", help="nobody has uvloop and httptools")
    comparing.set_defaults(command=_compare)

    quick = commands.add_parser("quick", parents=[common], help="CPU of ours and of bare aio-pika, in a minute")
    quick.add_argument("--rounds", type=int, default=3)
    quick.add_argument("--messages", type=int, default=10_000)
    quick.set_defaults(command=_quick)

    growing = commands.add_parser("growth", parents=[common], help="size, queues, threads, prefetch, backlog")
    growing.add_argument("--rounds", type=int, default=3)
    growing.add_argument("--messages", type=int, default=20_000)
    growing.add_argument("--backlog", type=int, default=1_000_000, help="at most; the largest is measured once")
    growing.set_defaults(command=_grow)

    two = commands.add_parser("instances", parents=[common], help="two instances whose handlers compute")
    two.add_argument("--rounds", type=int, default=3)
    two.add_argument("--messages", type=int, default=10_000)
    two.set_defaults(command=_instances)

    arguments = parser.parse_args()
    # So that a run that is ended leaves neither processes nor queues behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    command: Callable[[argparse.Namespace], int] = arguments.command
    return command(arguments)


def _compare(arguments: argparse.Namespace) -> int:
    plan = Plan(
        arguments.broker_url,
        arguments.queue_type,
        arguments.contenders,
        arguments.phases,
        arguments.rounds,
        arguments.messages,
        arguments.many,
        arguments.plain,
    )
    started = time.monotonic()
    results = compare(plan)
    print(f"\n{table(results, plan.names)}\n\n{time.monotonic() - started:.0f} s")
    extra = ", without uvloop and httptools" if plan.plain else ""
    title = f"RabbitMQ {_short(results.broker)}, {plan.queue_type} queues{extra}"
    name = f"rabbitmq-{_short(results.broker)}-{plan.queue_type}{'-plain' if plan.plain else ''}"
    how = f"{plan.messages:,} messages, {plan.rounds} rounds, on {about(results.broker, plain=plan.plain)}"
    chart(results, plan.names, title, arguments.out / f"{name}.svg")
    _write(arguments.out / f"{name}.md", page(results, plan.names, title, how, f"{name}.svg"))
    return 0


def _quick(arguments: argparse.Namespace) -> int:
    """CPU a message, ours and bare aio-pika's. Prints, and judges nothing: a machine's noise is no defect."""
    names = [BARE, OURS]
    results = compare(
        Plan(arguments.broker_url, arguments.queue_type, names, ["throughput"], arguments.rounds, arguments.messages)
    )
    print()
    for figure in ("consume CPU", "publish CPU"):
        ours, bare, ratio = (
            results.median(figure, OURS),
            results.median(figure, BARE),
            results.ratio(figure, OURS, BARE),
        )
        if ours is None or bare is None or ratio is None:
            print(f"{figure}: no round without an error")
            return 1
        print(f"{figure} a message: ours {ours:.0f} µs, bare aio-pika {bare:.0f} µs, ratio {ratio:.2f}")
    return 0


def _grow(arguments: argparse.Namespace) -> int:
    steps, results = grow(
        arguments.broker_url, arguments.queue_type, arguments.messages, arguments.backlog, arguments.rounds
    )
    tables = growth_table(steps, results)
    print(f"\n{tables}\n")
    title = f"Growth: RabbitMQ {_short(results.broker)}, {arguments.queue_type} queues"
    name = f"growth-rabbitmq-{_short(results.broker)}-{arguments.queue_type}"
    growth_chart(steps, results, title, arguments.out / f"{name}.svg")
    how = f"Medians of {arguments.rounds} rounds, on {about(results.broker, plain=False)}"
    _write(arguments.out / f"{name}.md", growth_page(tables, title, how, f"{name}.svg"))
    return 0


def _instances(arguments: argparse.Namespace) -> int:
    print(instances(arguments.broker_url, arguments.queue_type, arguments.messages, arguments.rounds))
    return 0


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    print(f"written: {file} and its chart")


def _list(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
