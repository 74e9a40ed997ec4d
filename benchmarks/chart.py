"""The same tables as pictures:"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.contenders import BASE, TITLES
from benchmarks.growth import AXES, FIGURES, Step
from benchmarks.report import ROWS
from benchmarks.results import Results

COLOURS = ["#9aa0a6", "#1a73e8", "#5f6368", "#f9ab00", "#188038", "#d93025"]
"""FastStream's, ours, and the others'."""


def chart(results: Results, names: Sequence[str], title: str, file: Path) -> None:
    """Each row's ratios to FastStream as bars."""
    rows = [row for row in ROWS if row.ratio and BASE in results.rounds.get(row.figure, {})]
    figure = Figure(figsize=(9, 0.75 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        ratios = [results.ratio(row.figure, name, BASE) or 0.0 for row in rows]
        offsets = [index - 0.4 + (place + 0.5) * height for index in range(len(rows))]
        colour = COLOURS[list(TITLES).index(name)]
        bars = axes.barh(offsets, [min(ratio, 6.0) for ratio in ratios], height, label=TITLES[name], color=colour)
        axes.bar_label(bars, [f"{ratio:.2f}" if ratio else "–" for ratio in ratios], fontsize=6, padding=2)
    axes.axvline(1.0, color="black", linewidth=0.6)
    better = [f"{row.title}\n({'more' if row.more_is_better else 'less'} is better)" for row in rows]
    axes.set_yticks(range(len(rows)), [text.replace("`", "") for text in better], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 6.4)
    axes.set_xlabel(f"ratio to {TITLES[BASE]} in the same round (bars end at 6)", fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.margins(y=0.005)
    figure.legend(fontsize=7, loc="outside upper center", ncols=len(names))
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, file)


def growth_chart(steps: Sequence[Step], results: Results, title: str, file: Path) -> None:
    """A column an axis of growth, a row a figure."""
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    panels = figure.subplots(len(FIGURES), len(AXES), sharex="col", sharey="row")
    for column, (axis, label) in enumerate(AXES.items()):
        for panel, (name, (unit, what)) in zip(panels[:, column], FIGURES.items(), strict=True):
            found = [
                (step.value, median)
                for step in steps
                if step.axis == axis and (median := results.median(name, step.subject)) is not None
            ]
            panel.plot([value for value, _ in found], [median for _, median in found], "o-", color=COLOURS[1])
            panel.set_xscale("log")
            panel.set_yscale("log" if name == "CPU" else "linear")
            panel.grid(alpha=0.3)
            panel.tick_params(labelsize=7)
            if column == 0:
                panel.set_ylabel(f"{what}, {unit}", fontsize=8)
        panels[-1, column].set_xlabel(label, fontsize=8)
    for name, panel in zip(FIGURES, panels[:, 0], strict=True):  # once all of a row is drawn, since they share it
        if name != "CPU":
            panel.set_ylim(bottom=0)
    figure.suptitle(title, fontsize=10)
    _save(figure, file)


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    mpl.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none"})
    figure.savefig(file, metadata={"Date": None})
