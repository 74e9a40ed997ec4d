"""A scenario: the messages, the faults and the settings of one run. All of it follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

MINUTE = 60.0


class Kind(StrEnum):
    """What a message does to its handler."""

    GOOD = "good"
    SLOW = "slow"
    FAILS = "fails a few times"
    ALWAYS = "always fails"
    REJECTED = "is rejected"
    POISON = "is no JSON"
    KILLER = "kills the process"


class Trouble(StrEnum):
    """A kind of fault."""

    CUT = "cut"
    SILENT = "silent"
    FREEZE = "freeze"
    KILL = "kill"
    DRAIN = "drain"
    ALARM = "alarm"
    FULL = "full"
    LOST_CONFIRM = "lost confirm"
    OUTAGE = "outage"
    RESTART = "broker restart"


@dataclass(frozen=True, slots=True)
class Sent:
    """One message. `work` is in seconds; `fails` is how often it does; no time limit stops a `plain` function."""

    number: int
    kind: Kind
    at: float
    work: float
    fails: int = 0
    plain: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. What `count`, `seconds` and `choice` mean depends on what it is (`faults.py`)."""

    what: Trouble
    at: float
    process: int
    seconds: float
    count: int
    choice: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run."""

    seed: int
    broker: str
    processes: int
    keys: Mapping[str, Any]
    messages: tuple[Sent, ...]
    faults: tuple[Fault, ...]
    calm_at: float
    """Virtual seconds after which there are no more faults."""

    @property
    def max_attempts(self) -> int:
        """Of a message, between two returns from the dead-letter queue."""
        return int(self.keys["retry"]["max_attempts"])

    @property
    def max_replays(self) -> int:
        """How often a message comes back from the dead-letter queue."""
        return int(self.keys["dlq"]["max_retries"])

    @property
    def patience(self) -> float:
        """Seconds after `calm_at` within which all must be at its end."""
        passes = (self.max_replays + 2) * float(self.keys["dlq"]["retry_interval"]) * 1.05
        return 5 * MINUTE + passes + (5 * MINUTE if any(sent.kind is Kind.KILLER for sent in self.messages) else 0.0)


def message_id(number: int, attempt: int) -> str:
    """Every try to publish has an id of its own, so that what landed unconfirmed is no duplicate."""
    return f"m{number}.{attempt}"


def number_of(name: str) -> int:
    """The number of a message, by its id."""
    return int(name[1:].partition(".")[0])


def kind_of(name: str, kinds: Mapping[int, Kind]) -> Kind:
    """The kind of a message, by its id. One that is in no scenario is good."""
    return kinds.get(number_of(name), Kind.GOOD)


KINDS = {
    Kind.GOOD: 55,
    Kind.SLOW: 15,
    Kind.FAILS: 12,
    Kind.ALWAYS: 7,
    Kind.REJECTED: 5,
    Kind.POISON: 4,
}
"""Of a hundred messages. Killers come besides."""
BAD_BEFORE_GOOD = 0.3
"""Of the runs have bad messages that stand together, before good ones."""
DISTURBING = (Trouble.KILL, Trouble.SILENT)
"""Faults that look like a death. Fewer than the deaths after which a message is given up."""
MAX_DISTURBING = 3

TAKES_BACK = 0.4
"""Of the runs at the broker that pushes, it takes back what is not acked in time. Half of the services are told so."""


def scenario_of(seed: int) -> Scenario:
    """The scenario of a seed."""
    chance = random.Random(f"scenario {seed}")
    calm_at = MINUTE * chance.choice((5, 5, 6, 6, 7, 8, 10, 13))
    concurrency = chance.choice((1, 2, 4, 8))
    keys = {
        "prefetch": concurrency * chance.choice((1, 2, 3)),
        "concurrency": concurrency,
        "handler_timeout": 30.0,
        "retry": {
            "max_attempts": chance.randint(2, 4),
            "initial_delay": chance.choice((0.2, 1.0, 3.0)),
            "multiplier": 2,
            "max_delay": 20.0,
        },
        "dlq": {"retry_interval": chance.choice((30.0, 45.0, 60.0)), "max_retries": chance.randint(1, 2)},
        "pause": {"after": chance.choice((0, 3, 5, 10)), "initial_delay": 1.0, "max_delay": 8.0},
        "ack_wait": chance.choice((10.0, 20.0, 30.0)),
    }
    processes = chance.choice((2, 2, 2, 3))
    bursts = [chance.uniform(1.0, calm_at * 0.85) for _ in range(chance.randint(3, 12))]
    scenario = Scenario(
        seed=seed,
        broker=chance.choice(("push", "polled")),
        processes=processes,
        keys=keys,
        messages=_messages(chance, keys, bursts),
        faults=_faults(chance, processes, bursts, calm_at),
        calm_at=calm_at,
    )
    return _with_a_time_to_settle(scenario)


def _with_a_time_to_settle(scenario: Scenario) -> Scenario:
    """In some runs the broker takes back what is not acked in time.

    One message of a service that is not told runs for longer, in a plain function; all others are done in time.
    """
    chance = random.Random(f"takes back {scenario.seed}")
    if scenario.broker != "push" or chance.random() >= TAKES_BACK:
        return scenario
    seconds, is_told = chance.choice((10.0, 15.0, 20.0)), chance.random() < 0.5
    keys = {**scenario.keys, "takes_back_after": seconds, "consumer_timeout": seconds if is_told else 0.0}
    plain = None if is_told else next((sent.number for sent in scenario.messages if sent.kind is Kind.SLOW), None)
    messages = tuple(
        replace(sent, work=chance.uniform(1.2, 1.9) * seconds, plain=True)
        if sent.number == plain
        else replace(sent, work=min(sent.work, 0.6 * seconds))
        for sent in scenario.messages
    )
    return replace(scenario, keys=keys, messages=messages)


def _messages(chance: random.Random, keys: Mapping[str, Any], bursts: list[float]) -> tuple[Sent, ...]:
    count = chance.randint(30, 100)
    kinds = chance.choices(list(KINDS), weights=list(KINDS.values()), k=count)
    if chance.random() < 0.25:
        kinds[chance.randrange(count)] = Kind.KILLER
    spread = chance.choice((0.5, 3.0, 15.0))
    sent: list[Sent] = []
    for number, kind in enumerate(kinds):
        at = chance.choice(bursts) + chance.uniform(0.0, spread)
        work = chance.uniform(1.0, 25.0) if kind is Kind.SLOW else chance.choice((0.0, 0.01, 0.1, 0.5))
        fails = chance.randint(1, keys["retry"]["max_attempts"] - 1) if kind is Kind.FAILS else 0
        sent.append(Sent(number, kind, round(at, 3), round(work, 3), fails))
    if chance.random() < BAD_BEFORE_GOOD:
        _stand_together(chance, sent, chance.uniform(1.0, max(bursts)))
    return tuple(sorted(sent, key=lambda one: (one.at, one.number)))


def _stand_together(chance: random.Random, sent: list[Sent], at: float) -> None:
    """Let a third of the messages come at once, and those that fail before those that are good."""
    together = sent[: len(sent) // 3]
    bad = chance.randint(len(together) // 3, len(together))
    for one in together:
        kind = Kind.FAILS if one.number < bad else Kind.GOOD
        when = at + chance.random() + (kind is Kind.GOOD)
        if one.kind is not Kind.KILLER:
            work = chance.choice((0.0, 0.01, 0.1))
            sent[one.number] = Sent(one.number, kind, round(when, 3), work, fails=int(kind is Kind.FAILS))


def _faults(chance: random.Random, processes: int, bursts: list[float], calm_at: float) -> tuple[Fault, ...]:
    kinds = chance.choices(list(Trouble), k=chance.randint(3, 9))
    disturbing = 0
    faults: list[Fault] = []
    for kind in kinds:
        what = kind
        if what in DISTURBING:
            disturbing += 1
            if disturbing > MAX_DISTURBING:
                what = Trouble.CUT
        at = chance.choice(bursts) + chance.uniform(0.0, 10.0)
        faults.append(
            Fault(
                what=what,
                at=round(min(at, calm_at - 1.0) if chance.random() < 0.8 else chance.uniform(0.0, calm_at), 3),
                process=chance.randrange(processes),
                seconds=round(chance.choice((chance.uniform(0.5, 5.0), chance.uniform(5.0, 50.0))), 3),
                count=chance.choice((1, 1, 2, 3, 5, 10, 30, 100)),
                choice=chance.random(),
            )
        )
    return tuple(sorted(faults, key=lambda fault: fault.at))
