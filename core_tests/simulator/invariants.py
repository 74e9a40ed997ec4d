"""What must hold at the end of a run."""

from __future__ import annotations

from app.queue.messages.headers import dead_letter_reason
from core_tests.simulator.ledger import Fate
from core_tests.simulator.scenario import Kind, Scenario
from core_tests.simulator.world import Run

MAX_DEATHS = 6
"""Processes that one message may kill."""
MAX_GUESSES = 3
"""Deaths that are not counted, for a process whose link was lost takes for its own what may have been on its way.

Each link that is lost since something was not settled in time may cost one more.
"""
SURELY_DONE = (Kind.GOOD, Kind.SLOW, Kind.FAILS)


def check(run: Run) -> list[str]:
    """All that does not hold, in words."""
    found = list(run.ledger.violations)
    if found:
        return found  # it was not run to its end
    for name, fate in run.ledger.fates.items():
        message = run.parked.get(name)
        if fate.confirmed and not fate.done and message is None:
            found.append(f"{name} is lost")
            continue
        if not fate.landings:
            continue
        found += [f"{name} ({fate.kind}): {what}" for what in _wrong(run, fate, message is not None)]
        if message is not None and fate.kind is Kind.KILLER and dead_letter_reason(message) != "crashed":
            found.append(f"{name} kills, and is parked for another reason: {dead_letter_reason(message)!r}")
    return found


def _wrong(run: Run, fate: Fate, parked: bool) -> list[str]:
    found = []
    if parked and fate.kind in SURELY_DONE and not fate.disturbed:
        found.append("is parked, although nothing was wrong with it")
    if not parked and fate.kind not in SURELY_DONE:
        found.append(f"is not parked, after {fate.calls} calls")
    most_guesses = MAX_GUESSES + run.ledger.overdue
    if fate.kind is Kind.KILLER and (fate.guessed > most_guesses or fate.deaths > most_deaths(fate)):
        found.append(f"has killed {fate.deaths} processes")
    expected = expected_calls(fate, run.scenario)
    if expected is not None and fate.calls not in expected and not fate.disturbed:
        found.append(f"was run {fate.calls} times, and not {expected}")
    return found


def most_deaths(fate: Fate) -> int:
    """How many processes a message may kill: each copy so many, and one more for each death that nobody could count."""
    return (fate.landings - fate.settled) * MAX_DEATHS + fate.guessed


def expected_calls(fate: Fate, scenario: Scenario) -> range | None:
    """How often a message is run with which no fault had to do; None if that can't be said."""
    life = scenario.max_attempts
    match fate.kind:
        case Kind.GOOD | Kind.SLOW:
            return range(1, 2)
        case Kind.FAILS:
            return range(2, life + 1)
        case Kind.ALWAYS:
            return range(life * (scenario.max_replays + 1), life * (scenario.max_replays + 1) + 1)
        case Kind.REJECTED:
            return range(1, 2)
        case Kind.POISON:
            return range(1)
        case Kind.KILLER:
            return None
