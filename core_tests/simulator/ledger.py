"""What happened to each message of a run, and the trace of all that happened."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from app.queue.interfaces import Message, Place
from app.queue.messages.headers import MOVES, dead_letter_reason, history_of
from core_tests.simulator.scenario import Kind, Scenario, kind_of
from core_tests.simulator.timeline import Timeline
from core_tests.simulator.waiting import Waits

MAX_CRASHES = 6
"""After so many deaths in a row a message is given up, whatever it died of."""
BESIDE_KILLER = 4
"""Of these, so many may be those of its neighbour that kills."""
DONE = "done"
"""How a handler ends that returns."""


@dataclass(slots=True)
class Fate:
    """What is known of one message, by its id.

    Attributes:
        calls: handler calls.
        done: handler calls that returned.
        landings: how often it was put somewhere.
        settled: how often the broker has forgotten it. What has landed more often is there more than once.
        redelivered: times that it came again, since somebody had not settled it.
        disturbed: a fault, an outage or a pause had to do with it, so the number of its calls is not exact.
        from_outside: those of them that no message is the reason of.
        deaths: processes that it killed.
        guessed: times that it ran where it was taken for a process's own, although another one had died with it.
    """

    kind: Kind
    confirmed: bool = False
    calls: int = 0
    done: int = 0
    landings: int = 0
    settled: int = 0
    redelivered: int = 0
    from_outside: int = 0
    deaths: int = 0
    guessed: int = 0
    disturbed: bool = False
    moves: set[int] = field(default_factory=set)


class Ledger:
    """Notes all, and finds fault at once where that is possible; `invariants.py` looks at the rest in the end."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        self.scenario = scenario
        self.timeline = timeline
        self.trace: list[tuple[float, str, tuple[Any, ...]]] = []
        self.violations: list[str] = []
        self.fates: dict[str, Fate] = {}
        self.waits = Waits(scenario.keys["concurrency"], scenario.keys["prefetch"])
        self.faults = 0
        self.deaths = 0
        self.paused: set[str] = set()
        self.killed: set[str] = set()
        """Lives of processes that a message has ended."""
        self._died_with: set[int] = set()
        self._running: defaultdict[str, set[int]] = defaultdict(set)
        self._done: defaultdict[str, set[int]] = defaultdict(set)
        self._kinds = {message.number: message.kind for message in scenario.messages}

    def note(self, what: str, *args: Any) -> None:
        """Something happened."""
        self.trace.append((self.timeline.now, what, args))

    def violated(self, rule: str) -> None:
        """An invariant does not hold; the run may end."""
        self.note("VIOLATED", rule)
        self.violations.append(rule)
        self.timeline.stop()

    def fate(self, message_id: str) -> Fate:
        """What is known of a message."""
        fate = self.fates.get(message_id)
        if fate is None:
            fate = self.fates[message_id] = Fate(kind_of(message_id, self._kinds))
        return fate

    def started(self, process: str) -> None:
        """A process has begun its life."""
        self.note("starts", process)
        self.waits.started(process, self.timeline.now)

    def landed(self, entry: int, message: Message, place: Place, before: int) -> None:
        """The broker has put a message into a place, where there are so many before it."""
        fate = self.fate(message.message_id)
        self.note("lands", message.message_id, place.value, entry)
        fate.landings += 1
        self.waits.landed(entry, message, place, self.timeline.now, before)
        moves = message.headers.get(MOVES, 0)
        fate.disturbed |= moves in fate.moves
        fate.moves.add(moves)
        crashed = place is Place.DLQ and dead_letter_reason(message) == "crashed"
        least = MAX_CRASHES - BESIDE_KILLER if self.killed else MAX_CRASHES
        if crashed and fate.kind is not Kind.KILLER and fate.from_outside < least:
            self.violated(f"{message.message_id}, which kills nobody, is dead-lettered as crashed")
        if history_of(message).attempts > self.scenario.max_attempts:
            self.violated(f"{message.message_id} has had more attempts than there are")

    def settled(self, message: Message, place: Place, entry: int) -> None:
        """The broker has forgotten a message."""
        self.fate(message.message_id).settled += 1
        self.waits.settled(entry, self.timeline.now)
        self.note("settled", message.message_id, place.value, entry)

    def came_again(self, message: Message, life: str) -> None:
        """It was not settled by the process that had it."""
        fate = self.fate(message.message_id)
        self.waits.came_again(message, self.timeline.now)
        fate.redelivered += 1
        fate.from_outside += life not in self.killed
        fate.disturbed = True

    def ran_out(self, message_id: str, life: str) -> None:
        """The time for which it was lent is over."""
        self.note("runs out", message_id, life)
        if not (self.faults or self.deaths):
            self.violated(f"{message_id} was taken from {life}, which is well and has it in flight")

    def began(self, process: str, message_id: str, entry: int) -> Fate:
        """A handler is called."""
        fate = self.fate(message_id)
        fate.calls += 1
        if (wrong := self.waits.began(process, message_id, self.timeline.now)) is not None:
            self.violated(wrong)
        fate.guessed += entry in self._died_with
        fate.disturbed |= bool(self.paused)
        self.note("runs", message_id, process, entry)
        running = self._running[process]
        if entry in running:
            self.violated(f"{message_id} runs twice side by side in {process}")
        running.add(entry)
        if entry in self._done[process]:
            self.violated(f"{message_id} runs again in {process}, where it is done")
        scenario = self.scenario
        life = scenario.max_attempts * (scenario.max_replays + 1)
        in_pauses = self.timeline.now / 2  # what fails in a pause is not held against it, and a probe is rare
        if fate.calls > life * (1 + fate.redelivered) + (life + in_pauses if fate.disturbed else 0):
            self.violated(f"{message_id} has been run {fate.calls} times")
        return fate

    def ended(self, process: str, message_id: str, entry: int, how: str) -> None:
        """A handler has ended."""
        self.note("ends", message_id, process, how)
        self._running[process].discard(entry)
        self.waits.ended(process, self.timeline.now)
        if how == DONE:
            self._done[process].add(entry)

    def died(self, process: str, why: str) -> None:
        """A process is dead, and what ran in it runs no more."""
        self.note("dies", process, why)
        self.deaths += 1
        self.waits.died(process, self.timeline.now)
        self._died_with |= self._running.pop(process, set())
        self.paused.discard(process)
