"""The shortest scenario that goes wrong in the same way: faults and messages are left out as long as it still does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from core_tests.simulator.scenario import Scenario
from core_tests.simulator.seeds import kind_of_wrong, wrong_with

Part = TypeVar("Part")


def shrunk(scenario: Scenario) -> Scenario:
    """A smaller one that goes wrong likewise, or the same if there is none."""
    wrong, _ = wrong_with(scenario)
    kinds = {kind_of_wrong(text) for text in wrong}

    def still(smaller: Scenario) -> bool:
        return any(kind_of_wrong(text) in kinds for text in wrong_with(smaller)[0])

    def without_faults() -> Scenario:
        return replace(scenario, faults=_fewest(scenario.faults, lambda few: still(replace(scenario, faults=few))))

    scenario = without_faults()
    messages = _fewest(scenario.messages, lambda few: still(replace(scenario, messages=few)))
    scenario = replace(scenario, messages=messages)
    return without_faults()


def _fewest(parts: tuple[Part, ...], still: Callable[[tuple[Part, ...]], bool]) -> tuple[Part, ...]:
    """Leave out halves, then quarters, and so on down to single ones."""
    size = max(1, len(parts) // 2)
    while True:
        start, before = 0, len(parts)
        while start < len(parts):
            fewer = parts[:start] + parts[start + size :]
            if still(fewer):
                parts = fewer
            else:
                start += size
        if size == 1 and len(parts) == before:
            return parts
        size = max(1, size // 2)
