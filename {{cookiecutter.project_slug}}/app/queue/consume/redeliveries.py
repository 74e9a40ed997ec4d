# The template's: an update changes it. Which files are yours: README.md.
"""What this process knows of messages that come again, since their link was lost before they were settled.

Without it a lost connection would run a message twice side by side, and would look like a crash to its count.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from app.queue.clock import now
from app.queue.consume.in_flight import Key, Record, comes_from
from app.queue.messages.headers import one_move_later
from app.queue.messages.message import Arrival, Delivery
from app.queue.messages.outcome import DONE, Action, Outcome

Result = asyncio.Future[Outcome | None]
"""What became of a delivery: the outcome that is still to be settled, or None if it has not been run."""


@dataclass(slots=True, eq=False)
class Memory:
    """Of one delivery. `since`: when its result became known, in monotonic seconds."""

    key: Key
    result: Result
    since: float

    def renew(self, _: object) -> None:
        """The result is there."""
        self.since = now()


class Redeliveries:
    """The deliveries of one queue that could not be settled, or whose ack may be lost.

    Others may have copied a message, id, history and all, and a copy is not done because the other one is. So each
    delivery is remembered for one that comes again, and for no longer than the broker may take to deliver it again.
    When in doubt, a message is run once more.
    """

    def __init__(self, prefetch: int, keep_for: float, *, held: int, confirms_acks: bool) -> None:
        """`held`: how many may be in flight besides `prefetch`, since the broker takes them nowhere.

        `keep_for` is in seconds; `confirms_acks` as in a provider's claims.
        """
        self._limit = 4 * prefetch + 2 * held  # of two links that are lost one soon after the other
        self._keep_for = keep_for
        self._memories: list[Memory] = []
        # As many as the consumer may have in flight, and again as many of those that a reader gave beside it.
        self._acked: deque[tuple[float, Key]] | None = None if confirms_acks else deque(maxlen=2 * prefetch)
        self._opened_at: float | None = None

    def acked(self, record: Record) -> None:
        """The message was handled, and acked as far as is known: if acks are unconfirmed, that may be lost yet."""
        # Without an id, an equal message may well be another one.
        if self._acked is not None and record.delivery.identity:
            self._acked.append((now(), record.key))
            while self._acked[0][0] < now() - self._keep_for:
                self._acked.popleft()

    def unsettled(self, record: Record, left: Outcome) -> None:
        """The delivery could not be settled: its link is gone, and the outcome is left."""
        self._remember(record.key, _known(left))

    def lost(self, records: Sequence[Record]) -> None:
        """The consumer's link is gone, with these deliveries in flight."""
        self._opened_at = None
        if self._acked is not None:
            recently = now() - self._keep_for
            for acked_at, key in self._acked:
                if acked_at >= recently:
                    self._remember(key, _known(DONE))
            self._acked.clear()
        for record in records:
            self._remember(record.key, record.task)

    def opened(self) -> None:
        """There is a link again, so what was lost comes from now on."""
        self._opened_at = now()

    def recall(self, record: Record) -> Result | None:
        """What is known of a message that comes again; it is forgotten. None if nothing is."""
        self._forget_old()
        delivery, key = record.delivery, record.key
        for number in reversed(range(len(self._memories))):  # of equal ones, the latest is what counts
            memory = self._memories[number]
            if comes_from(key, memory.key) and not _may_be_another(delivery, memory.result):
                del self._memories[number]
                return memory.result
        return self._recall_acked(key)

    def given_back(self, record: Record, result: Result) -> None:
        """It is moved to where it comes from, for what it waits for is not known yet."""
        identity, body, history = record.key
        self._remember((identity, body, one_move_later(history)), result)

    def _recall_acked(self, key: Key) -> Result | None:
        """What was acked, comes again: the ack was lost with a link, though the consumer has not noticed it yet.

        A reader may have connected anew before.
        """
        too_old = now() - self._keep_for
        acked = self._acked or deque()
        for entry in acked:
            if entry[0] >= too_old and comes_from(key, entry[1]):
                acked.remove(entry)
                return _known(DONE)
        return None

    def _remember(self, key: Key, result: Result) -> None:
        memory = Memory(key, result, now())
        if not result.done():
            result.add_done_callback(memory.renew)
        self._memories.append(memory)
        del self._memories[: -self._limit]

    def _forget_old(self) -> None:
        if self._opened_at is None:
            return  # nothing has come since
        too_old = now() - self._keep_for
        if self._opened_at < too_old:
            self._memories = [one for one in self._memories if one.since >= too_old or not one.result.done()]


def _known(outcome: Outcome) -> Result:
    result: Result = asyncio.get_running_loop().create_future()
    result.set_result(outcome)
    return result


def _may_be_another(delivery: Delivery, result: Result) -> bool:
    """True if an equal message without an id, which somebody else had, must not count as done with this one."""
    if delivery.identity or delivery.arrival is not Arrival.ABANDONED:
        return False
    if not result.done() or result.cancelled() or result.exception() is not None:
        return False
    left = result.result()
    return left is not None and left.action is Action.ACK
