# The template's: an update changes it. Which files are yours: README.md.
"""AckWindow: which acks are due, for a broker that takes one ack for all deliveries up to a number."""

from __future__ import annotations

from dataclasses import dataclass

BATCH_DELAY = 0.002  # seconds that an ack may wait for others to go with
STALL_DELAY = 0.05  # seconds after which a delivery is acked by itself, because one before it is still being handled


@dataclass(frozen=True, slots=True)
class Ack:
    """One frame: of the delivery `tag`, or of all up to it."""

    tag: int
    multiple: bool


class AckWindow:
    """Which acks are due on one channel, by its delivery tags 1, 2, 3, ... and the times at which they were finished.

    The finished ones before the first unfinished one are acked by one frame: once there are a quarter of `prefetch`, or
    after BATCH_DELAY. Those behind an unfinished one are acked singly after STALL_DELAY, or once they are half of
    `prefetch`: or else one slow handler would hold the whole window.
    And all are due at once when there is nothing to wait for: `prefetch` messages are out, and one of `concurrency`
    slots is free, so that the broker gives it no message before it has an ack.
    A tag that never came this far counts as unfinished, so no frame ever covers it.
    """

    def __init__(self, prefetch: int, concurrency: int) -> None:
        self._prefetch = prefetch
        self._concurrency = concurrency
        self._batch = max(1, prefetch // 4)
        self._half = max(1, prefetch // 2)
        self._next = 1  # all below are finished, or among the unfinished, which are in order
        self._unfinished: dict[int, None] = {}
        self._behind: dict[int, float] = {}
        self._prefix = 0
        self._last = 0
        self._since = 0.0
        self._starved = False  # True while a slot waits for the acks that are due
        self.begun = False  # True if what was finished last began a batch, which may be due before anything else

    def finish(self, tag: int, now: float, in_flight: int) -> bool:
        """The delivery may be acked; `in_flight` others are unfinished. True if a frame is due at once.

        Nothing happens the second time.
        """
        if tag >= self._next:
            self._unfinished.update(dict.fromkeys(range(self._next, tag)))
            self._next = tag + 1
        elif tag in self._unfinished:
            del self._unfinished[tag]
        else:
            return False
        head = next(iter(self._unfinished), self._next)
        self.begun = tag <= head and not self._prefix
        if tag > head:
            self._behind[tag] = now
            return self._starves(in_flight) or len(self._behind) >= self._half
        if self.begun:
            self._since = now
        reached = [other for other in self._behind if other < head]
        for other in reached:
            del self._behind[other]
        self._prefix += 1 + len(reached)
        self._last = max(tag, *reached) if reached else tag
        return self._starves(in_flight) or self._prefix >= self._batch

    def _starves(self, in_flight: int) -> bool:
        full = in_flight + self._prefix + len(self._behind) >= self._prefetch
        self._starved = self._starved or (full and in_flight < self._concurrency)
        return self._starved

    def take(self, now: float, *, everything: bool = False) -> Ack | None:
        """The next frame, if it is time for one. It counts as sent."""
        everything = everything or self._starved
        if self._prefix and (everything or self._prefix >= self._batch or now >= self._since + BATCH_DELAY):
            ack = Ack(self._last, multiple=self._prefix > 1)
            self._prefix = 0
            return ack
        if self._behind:
            tag, finished = next(iter(self._behind.items()))
            if everything or len(self._behind) >= self._half or now >= finished + STALL_DELAY:
                del self._behind[tag]
                return Ack(tag, multiple=False)
        self._starved = False
        return None

    def next_due(self) -> float | None:
        """When a frame is due, if nothing more is finished."""
        if self._starved:
            return 0.0
        times = [self._since + BATCH_DELAY] if self._prefix else []
        if self._behind:
            times.append(next(iter(self._behind.values())) + STALL_DELAY)
        return min(times, default=None)
