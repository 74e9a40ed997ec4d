"""What came out of the rounds, and medians of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass
class Results:
    """Figures by name, subject (a contender, or a step of growth) and round."""

    broker: str = ""
    """The broker's version."""
    rounds: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    """By figure and subject, a value a round; None where it went wrong."""
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    """By phase and subject, why there can't be any."""

    def add(self, number: int, subject: str, figures: dict[str, float]) -> None:
        """Take in the figures of round `number`, from 0."""
        for figure, value in figures.items():
            values = self.rounds.setdefault(figure, {}).setdefault(subject, [])
            values.extend([None] * (number + 1 - len(values)))
            values[number] = value

    def values(self, figure: str, subject: str) -> list[float | None]:
        """A value a round."""
        return self.rounds.get(figure, {}).get(subject, [])

    def median(self, figure: str, subject: str) -> float | None:
        """Over the rounds that have a figure."""
        values = [value for value in self.values(figure, subject) if value is not None]
        return statistics.median(values) if values else None

    def ratio(self, figure: str, subject: str, base: str) -> float | None:
        """The median of the ratios to `base` in the same round: a round without one of them has none."""
        ratios = [
            mine / other
            for mine, other in zip(self.values(figure, subject), self.values(figure, base), strict=False)
            if mine is not None and other
        ]
        return statistics.median(ratios) if ratios else None
