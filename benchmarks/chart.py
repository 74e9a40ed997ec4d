"""The same table as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from benchmarks.compare import Measured
from benchmarks.contenders import BASE, TITLES
from benchmarks.report import ROWS, ratio_to_base

COLOURS = ["#9aa0a6", "#1a73e8", "#5f6368", "#f9ab00", "#188038", "#d93025"]
"""FastStream's, ours, and the others'."""


def chart(measured: Measured, names: Sequence[str], title: str, file: Path) -> None:
    """Each row's ratios to FastStream as bars. SVG, the same for the same figures."""
    rows = [row for row in ROWS if row.ratio and BASE in measured.rounds.get(row.figure, {})]
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    figure, axes = plt.subplots(figsize=(9, 0.75 * len(rows) + 1.2), layout="constrained")
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        ratios = [ratio_to_base(measured, row, name) or 0.0 for row in rows]
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
    axes.legend(fontsize=7, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
