"""The table: medians, ratios to FastStream in the same round, and why there is no figure where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.contenders import BASE, TITLES
from benchmarks.results import Results


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    figure: str
    title: str
    unit: str
    phase: str
    more_is_better: bool = False
    ratio: bool = True


ROWS = [
    Row("consume rate", "consume", "/s", "throughput", more_is_better=True),
    Row("consume CPU", "consume, CPU a message", "µs", "throughput"),
    Row("consume memory", "memory of the consuming process after it", "MB", "throughput"),
    Row("publish rate", "publish", "/s", "throughput", more_is_better=True),
    Row("publish CPU", "publish, CPU a message", "µs", "throughput"),
    Row("POST rate", "`POST /queues/…/messages`, 50 connections", "/s", "post", more_is_better=True),
    Row("batch gain", "messages in batches of 1,000, times the rate of single ones", "×", "post", more_is_better=True),
    Row("latency p50", "latency, publish to handler, p50", "µs", "latency"),
    Row("latency p99", "latency, publish to handler, p99", "µs", "latency"),
    Row("await rate", "handlers that await 10 ms", "/s", "waiting", more_is_better=True),
    Row("memory at start", "memory of the service with HTTP, one queue, started", "MB", "http"),
    Row("memory after load", "memory of the service with HTTP, one queue, after load", "MB", "http"),
    Row("HTTP p50", "HTTP while consuming at full speed, p50", "ms", "http"),
    Row("HTTP p99", "HTTP while consuming at full speed, p99", "ms", "http"),
    Row("start", "start with 50 queues that exist", "s", "start"),
    Row("start threads", "threads then", "", "start", ratio=False),
    Row("start connections", "connections to the broker then", "", "start", ratio=False),
    Row("start memory", "memory then", "MB", "start"),
]


def table(results: Results, names: Sequence[str]) -> str:
    """Markdown: a row a figure, a column a contender; the best of a row is bold."""
    lines = ["| | " + " | ".join(TITLES[name] for name in names) + " |", "| --- |" + " ---: |" * len(names)]
    notes: list[str] = []
    for row in ROWS:
        if row.figure not in results.rounds:
            continue
        medians = {name: found for name in names if (found := results.median(row.figure, name)) is not None}
        best = (max if row.more_is_better else min)(medians.values(), default=0.0)
        cells = []
        for name in names:
            if name not in medians:
                cells.append("–" + _note(notes, results, row, name))
                continue
            text = f"{number(medians[name])}{' ' + row.unit if row.unit not in ('', '/s') else row.unit}"
            ratio = results.ratio(row.figure, name, BASE)
            shown = f" ({ratio:.2f})" if row.ratio and ratio is not None and name != BASE else ""
            cells.append(f"**{text}**{shown}" if medians[name] == best else f"{text}{shown}")
        lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes])


def page(results: Results, names: Sequence[str], title: str, how: str, chart: str) -> str:
    """The whole page of a comparison."""
    return f"""# {title}

{how}

Medians; in brackets the median of the ratios to {TITLES[BASE]} in the same round. Bold is the best of a row. What a row
is and how it is measured: [benchmarks.md](../benchmarks.md).

{table(results, names)}

![The ratios as bars]({chart})

## Round by round

{_rounds(results, names)}
"""


def growth_page(tables: str, title: str, how: str, chart: str) -> str:
    """The whole page of growth."""
    return f"""# {title}

{how}

What is held still while one thing grows: 100 bytes, one queue (eight for the threads), prefetch 100. How it is
measured: [benchmarks.md](../benchmarks.md).

![The tables as a chart]({chart})

{tables}
"""


def number(value: float) -> str:
    """Three digits that count."""
    if value >= 1000:
        return f"{round(value, 2 - len(str(int(value))) + 1):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _note(notes: list[str], results: Results, row: Row, name: str) -> str:
    why = results.reasons.get(row.phase, {}).get(name)
    text = f"{TITLES[name]}: {why}" if why else f"{TITLES[name]}: went wrong in every round"
    entry = next((entry for entry in notes if entry.endswith(f" {text}.")), None)
    if entry is None:
        entry = f"{len(notes) + 1}. {text}."
        notes.append(entry)
    return f" <sup>{entry.partition('.')[0]}</sup>"


def _rounds(results: Results, names: Sequence[str]) -> str:
    lines = ["| | | |", "| --- | --- | --- |"]
    for row in ROWS:
        for name in names:
            values = results.values(row.figure, name)
            if values:
                shown = "  ".join("–" if value is None else number(value) for value in values)
                lines.append(f"| {row.title} | {TITLES[name]} | {shown} |")
    return "\n".join(lines)
