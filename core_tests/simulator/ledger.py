"""What happened to each message of a run, and the trace of all that happened."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from app.queue.interfaces import Message, Place
from app.queue.messages.headers import MOVES, dead_letter_reason, history_of
from core_tests.simulator.scenario import Kind, Scenario, kind_of, number_of
from core_tests.simulator.timeline import Timeline
from core_tests.simulator.waiting import Waits

MAX_CRASHES = 6
"""After so many deaths in a row a message is given up, whatever it died of."""
BESIDE_KILLER = 4
"""Of these, so many may be those of its neighbour that kills."""
KNOWN_FOR = 60.0
"""Seconds for which a process knows at least what it has handled and could not settle."""
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
        attempts: what it had behind it when it was put somewhere last.
        more_attempts: times that it had failed, and was given back to its queue, since its next place took nothing.
        path: where it was put, with the deaths that were counted by then.
        copied: it may be there more than once.
        guessed: times that it ran, or was given back, where it was taken for a process's own, although another one had
            died with it.
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
    path: list[tuple[Place, int]] = field(default_factory=list)
    copied: bool = False
    attempts: int = 0
    more_attempts: int = 0


@dataclass(slots=True)
class Turn:
    """The last run of a message in one process. `landings` are the message's, as it began."""

    landings: int
    done_at: float | None = None
    runs: bool = True


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
        self._turns: dict[tuple[str, str], Turn] = {}
        self.overdue = 0
        """Channels that were closed since something was not settled in time."""
        self.settles_from = 0.0
        """When there was no fault last that stands against settling what is in flight."""
        self._kinds = {message.number: message.kind for message in scenario.messages}
        self._plain = {message.number for message in scenario.messages if message.plain}

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

    def landed(self, entry: int, message: Message, place: Place, by: str, before: int) -> None:
        """The broker has put a message into a place, for a process; there are so many before it."""
        fate = self.fate(message.message_id)
        self.note("lands", message.message_id, place.value, entry)
        fate.copied |= 0 < fate.landings == fate.settled  # it was on its way for long, and meanwhile was done
        fate.landings += 1
        self.waits.landed(entry, message, place, self.timeline.now, before)
        moves = message.headers.get(MOVES, 0)
        fate.copied |= moves in fate.moves
        fate.disturbed |= fate.copied
        fate.moves.add(moves)
        crashed = place is Place.DLQ and dead_letter_reason(message) == "crashed"
        least = MAX_CRASHES - BESIDE_KILLER if self.killed else MAX_CRASHES
        if crashed and fate.kind is not Kind.KILLER and fate.from_outside < least:
            self.violated(f"{message.message_id}, which kills nobody, is dead-lettered as crashed")
        history = history_of(message)
        if fate.path and history.crashes > fate.path[-1][1] and (known := self._known(by, message.message_id, fate)):
            self.violated(f"{message.message_id}: {by} counts a death of what {known} itself")
        fate.path.append((place, history.crashes))
        if history.crashes > fate.redelivered:
            self.violated(f"{message.message_id} has died {history.crashes} times, and come again {fate.redelivered}")
        if place is Place.QUEUE and history.attempts >= min(fate.attempts + 1, self.scenario.max_attempts):
            fate.more_attempts += 1
            fate.disturbed = True
        fate.attempts = history.attempts
        if history.attempts > self.scenario.max_attempts + fate.more_attempts:
            self.violated(f"{message.message_id} has had more attempts than there are")

    def settled(self, message: Message, place: Place, entry: int) -> None:
        """The broker has forgotten a message."""
        fate = self.fate(message.message_id)
        fate.settled += 1
        fate.guessed += entry in self._died_with and fate.path[-1][0] is Place.QUEUE  # it was given back
        self.waits.settled(entry, self.timeline.now)
        self.note("settled", message.message_id, place.value, entry)

    def came_again(self, message: Message, life: str) -> None:
        """It was not settled by the process that had it."""
        fate = self.fate(message.message_id)
        self.waits.came_again(message, self.timeline.now)
        fate.redelivered += 1
        fate.copied |= message.headers.get(MOVES, 0) < max(fate.moves)  # it was moved, and its ack was lost
        fate.from_outside += life not in self.killed
        fate.disturbed = True

    def ran_out(self, message_id: str, life: str) -> None:
        """The time for which it was lent is over."""
        self.note("runs out", message_id, life)
        if not (self.faults or self.deaths):
            self.violated(f"{message_id} was taken from {life}, which is well and has it in flight")

    def taken_back(self, message_id: str, life: str, since: float, *, knows: bool) -> None:
        """It was not settled in the broker's time. `knows`: its process knew that time when it came."""
        self.note("takes back", message_id, life)
        self.overdue += 1
        if knows and since >= self.settles_from and number_of(message_id) not in self._plain:
            self.violated(f"{message_id} was taken back from {life}, which knew how long it had, and could settle it")

    def delivered(self, message: Message, place: Place, count: int) -> None:
        """The broker has given it to somebody, so many times by now. Some brokers drop what they give too often."""
        fate = self.fate(message.message_id)
        fate.copied |= message.headers.get(MOVES, 0) < max(fate.moves)
        links = self.scenario.processes * self.faults  # a broker that stops takes back one link after the other
        passes = 0
        if place is Place.DLQ:  # what can't be moved is left there, by each process
            passes = self.scenario.processes * int(self.timeline.now / self.scenario.keys["dlq"]["retry_interval"])
        if count > 1 + links + self.deaths + self.overdue + passes:
            self.violated(f"{message.message_id} is delivered for the {count}. time")

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
        if known := self._known(process, message_id, fate):
            self.violated(f"{message_id} runs in {process}, which {known} itself")
        self._turns[process, message_id] = Turn(len(fate.path))
        scenario = self.scenario
        life = scenario.max_attempts * (scenario.max_replays + 1) + fate.more_attempts
        in_pauses = self.timeline.now / 2  # what fails in a pause is not held against it, and a probe is rare
        if fate.calls > life * (1 + fate.redelivered) + (life + in_pauses if fate.disturbed else 0):
            self.violated(f"{message_id} has been run {fate.calls} times")
        return fate

    def ended(self, process: str, message_id: str, entry: int, how: str) -> None:
        """A handler has ended."""
        self.note("ends", message_id, process, how)
        self._running[process].discard(entry)
        self.waits.ended(process, self.timeline.now)
        turn = self._turns[process, message_id]
        turn.runs = False
        if how == DONE:
            turn.done_at = self.timeline.now
            self._done[process].add(entry)

    def died(self, process: str, why: str) -> None:
        """A process is dead, and what ran in it runs no more."""
        self.note("dies", process, why)
        self.deaths += 1
        self.waits.died(process, self.timeline.now)
        self._died_with |= self._running.pop(process, set())
        self.paused.discard(process)

    def _known(self, process: str, message_id: str, fate: Fate) -> str:
        """What a process does or did with a message, which it must know again; "" if it need not.

        It need not, if somebody has done more with the message since than to count deaths.
        """
        turn = self._turns.get((process, message_id))
        if turn is None or fate.copied:
            return ""
        (_, deaths), *since = fate.path[turn.landings - 1 :]
        if since != [(Place.QUARANTINE, deaths + number) for number in range(1, len(since) + 1)]:
            return ""
        if turn.runs:
            return "runs it"
        if turn.done_at is not None and self.timeline.now - turn.done_at < KNOWN_FOR:
            return "has done it"
        return ""
