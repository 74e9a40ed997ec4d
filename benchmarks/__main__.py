"""`python -m benchmarks compare|quick`. `make bench` and `make bench-quick` call it; `--help` lists the options."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.compare import OURS, Plan, compare
from benchmarks.contenders import TITLES
from benchmarks.phases import PHASES

DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"


def main() -> int:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--broker-url", default="amqp://guest:guest@127.0.0.1:5672/")
    parser.add_argument("--queue-type", choices=["quorum", "classic"], default="quorum")
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser("compare", help="all contenders, all rows")
    comparing.add_argument("--rounds", type=int, default=5)
    comparing.add_argument("--messages", type=int, default=20_000, help="of a round; some rows take a part of them")
    comparing.add_argument("--many", type=int, default=50, help="queues to start with")
    comparing.add_argument("--contenders", type=_list(TITLES), default=list(TITLES), help=",".join(TITLES))
    comparing.add_argument("--phases", type=_list(PHASES), default=list(PHASES), help=",".join(PHASES))
    comparing.add_argument("--out", type=Path, help=f"folder for the table and the chart (default: {DOCS})")
    quick = commands.add_parser("quick", help="CPU of ours and of bare aio-pika, in a minute")
    quick.add_argument("--rounds", type=int, default=3)
    quick.add_argument("--messages", type=int, default=10_000)
    arguments = parser.parse_args()
    return _quick(arguments) if arguments.command == "quick" else _compare(arguments)


def _compare(arguments: argparse.Namespace) -> int:
    from benchmarks.chart import chart  # noqa: PLC0415 - matplotlib takes a second to load
    from benchmarks.report import page, table  # noqa: PLC0415

    started = time.monotonic()
    plan = Plan(
        arguments.broker_url,
        arguments.queue_type,
        arguments.contenders,
        arguments.phases,
        arguments.rounds,
        arguments.messages,
        arguments.many,
    )
    measured = compare(plan)
    print(f"\n{table(measured, arguments.contenders)}\n\n{time.monotonic() - started:.0f} s")
    title = f"RabbitMQ {measured.broker}, {arguments.queue_type} queues"
    name = f"rabbitmq-{'.'.join(measured.broker.split('.')[:2])}-{arguments.queue_type}"
    how = f"{arguments.messages:,} messages, {arguments.rounds} rounds."
    folder = arguments.out or DOCS
    chart(measured, arguments.contenders, title, folder / f"{name}.svg")
    (folder / f"{name}.md").write_text(page(measured, arguments.contenders, title, how, f"{name}.svg"), "utf-8")
    print(f"written: {folder / name}.md and .svg")
    return 0


def _quick(arguments: argparse.Namespace) -> int:
    """CPU a message, ours divided by bare aio-pika's. Prints, and judges nothing: a machine's noise is no defect."""
    import statistics  # noqa: PLC0415

    phases = ["throughput"]
    plan = Plan(
        arguments.broker_url, arguments.queue_type, ["bare", OURS], phases, arguments.rounds, arguments.messages
    )
    measured = compare(plan)
    print()
    for figure in ("consume CPU", "publish CPU"):
        rounds = measured.rounds.get(figure, {})
        pairs = [
            (ours, bare)
            for ours, bare in zip(rounds.get(OURS, []), rounds.get("bare", []), strict=False)
            if ours is not None and bare is not None
        ]
        if not pairs:
            print(f"{figure}: no round without an error")
            return 1
        ratio = statistics.median(ours / bare for ours, bare in pairs)
        ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{figure} a message: ours {ours:.0f} µs, bare aio-pika {bare:.0f} µs; ratio {ratio:.2f}")
    return 0


def _list(known: object) -> object:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]  # type: ignore[operator]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return names

    return parse


if __name__ == "__main__":
    sys.exit(main())
