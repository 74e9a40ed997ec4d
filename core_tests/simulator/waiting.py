"""How long a message waits that nothing stands against: no fault is on, and it has never failed.

What counts is the time in which it waits although the process that runs it in the end has a free slot. A free slot may
wait for two things only: in a pause each message that stands before it is tried or put aside at a pace; and each is
settled before the next one comes. So 500 good messages behind 50 bad ones are not held up for more than a second, and
behind 1,000 not for more than eleven, with a `prefetch` of 20 or more.

What was in flight at one death is taken over by a process, and waits for a slot there, unless another one sees it
sooner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from app.queue.interfaces import Message, Place
from app.queue.messages.headers import history_of

PACE = 1 / 100
"""Seconds that each message before it may cost in a pause."""
SETTLE = 0.04
"""Seconds for a publish, its confirm, an ack and the next delivery; the messages in flight share them."""
SLACK = 0.3
"""Seconds, for latencies."""
RUNS_WITHIN = 2.0
"""Seconds within which a message runs again that was in flight at one death."""
RECOVERY = 10.0
"""Seconds that a fault may be felt after it, or a lost link."""


@dataclass(slots=True)
class Slots:
    """The slots of one process: how many are taken, and for how long not all were."""

    taken: int = 0
    free_for: float = 0.0
    since: float = 0.0

    def until(self, now: float, of: int) -> float:
        """For how long not all were taken, up to now."""
        return self.free_for + (now - self.since if self.taken < of else 0.0)

    def change(self, by: int, now: float, of: int) -> None:
        """A handler begins, or ends."""
        self.free_for, self.since = self.until(now, of), now
        self.taken += by


@dataclass(slots=True)
class Wait:
    """A message waits since `since`; `before` are those that it may wait for."""

    since: float
    allowed: float
    free_for: dict[str, float]
    again: bool


class Waits:
    """All that wait. `longest` is the largest part of what was allowed that a message has had to wait."""

    def __init__(self, concurrency: int, prefetch: int) -> None:
        self._concurrency = concurrency
        self._each = PACE + SETTLE / prefetch
        self._slots: defaultdict[str, Slots] = defaultdict(Slots)
        self._waits: dict[str, Wait] = {}
        self._calm_from = 0.0
        self._alone_until = 0.0
        self._quarantined: dict[int, int] = {}
        self.seen = {False: 0, True: 0}
        self.longest = {False: 0.0, True: 0.0}

    def troubled(self, until: float) -> None:
        """A fault is on, or felt, until then: what waits meanwhile proves nothing."""
        self._calm_from = max(self._calm_from, until)

    def started(self, life: str, now: float) -> None:
        """A process has begun."""
        self._slots[life] = Slots(since=now)

    def landed(self, entry: int, message: Message, place: Place, now: float, before: int) -> None:
        """It lies in a place, behind so many others."""
        history = history_of(message)
        if place is Place.QUARANTINE:
            self._quarantined[entry] = history.crashes
        elif place is Place.QUEUE and not (history.has_failed or history.crashes):
            self._wait(message.message_id, now, SLACK + (before + 1) * self._each, again=False)

    def settled(self, entry: int, now: float) -> None:
        """It lies there no more."""
        if self._quarantined.pop(entry, None) is not None:
            self._alone_until = now

    def came_again(self, message: Message, now: float) -> None:
        """A process that had it has died."""
        history = history_of(message)
        if not (history.has_failed or history.crashes):
            self._wait(message.message_id, now, RUNS_WITHIN, again=True)

    def began(self, life: str, message_id: str, now: float) -> str | None:
        """It runs. Returns what is wrong with how long that took."""
        slots = self._slots[life]
        wait = self._waits.pop(message_id, None)
        waited = 0.0
        if wait is not None:
            waited = self._waited(wait, self._slots if wait.again else [life], now)
        slots.change(1, now, self._concurrency)
        if wait is None or not self._is_fair(wait):
            return None
        self.seen[wait.again] += 1
        self.longest[wait.again] = max(self.longest[wait.again], waited / wait.allowed)
        if waited <= wait.allowed:
            return None
        return f"{message_id} has waited for {waited:.1f} s beside a free slot, and not {wait.allowed:.1f} s"

    def ended(self, life: str, now: float) -> None:
        """A handler has ended."""
        self._slots[life].change(-1, now, self._concurrency)

    def died(self, life: str, now: float) -> None:
        """A process is dead. What is abandoned by that begins to wait now."""
        self._slots.pop(life, None)
        self.troubled(now)

    def _waited(self, wait: Wait, lives: Iterable[str], now: float) -> float:
        return min(self._slots[life].until(now, self._concurrency) - wait.free_for.get(life, 0.0) for life in lives)

    def _wait(self, message_id: str, now: float, allowed: float, *, again: bool) -> None:
        free_for = {life: slots.until(now, self._concurrency) for life, slots in self._slots.items()}
        self._waits[message_id] = Wait(now, allowed, free_for, again)

    def _is_fair(self, wait: Wait) -> bool:
        """Suspects run with nothing beside them, and what was abandoned once has the slots of others."""
        if wait.since < self._calm_from:
            return False
        if wait.again:
            return all(crashes < 2 for crashes in self._quarantined.values())
        return not self._quarantined and wait.since >= self._alone_until


def felt_until(now: float, seconds: float) -> float:
    """Until when a fault is felt that lasts for so long."""
    return now + seconds + RECOVERY
