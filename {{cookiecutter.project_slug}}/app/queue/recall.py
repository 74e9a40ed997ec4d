"""Remembers what was in hand when a link broke, because the broker will deliver it once more."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping

from app.queue.headers import History, history
from app.queue.interfaces import Delivery
from app.queue.policy import DONE, Action, Outcome

_Key = tuple[str, bytes, History]

Result = asyncio.Future[Outcome | None]
"""What became of a delivery: the outcome that is still to be settled, or None if it has not been run."""

EXPECT_FOR = 120.0
"""Seconds after a loss in which the broker delivers again what was on its way to us."""


class Recall:
    """What this process knows of a redelivered message: it did not crash on it, and may even be running it still.

    Without it a lost connection would run a message twice side by side, and would look like a crash to its count.
    """

    def __init__(self, prefetch: int) -> None:
        self._prefetch = prefetch
        self._known: list[tuple[_Key, Result]] = []
        self._settled: deque[Delivery] = deque(maxlen=prefetch)
        self._expected = 0
        self._expected_until = 0.0

    def settled(self, delivery: Delivery) -> None:
        """The delivery is settled, as far as we know: its ack may be lost with the link all the same."""
        if delivery.identity:  # without an id, an equal message may well be another one
            self._settled.append(delivery)

    def alive(self, delivery: Delivery, past: History) -> None:
        """The message will be in a queue of the broker's with this history: what is known to be done is not that."""
        key = _key(delivery, past)
        self._known = [(known, result) for known, result in self._known if known != key or not _is_done(result)]
        kept = [settled for settled in self._settled if _key(settled) != key]
        self._settled = deque(kept, maxlen=self._prefetch)

    def unsettled(self, delivery: Delivery, result: Result) -> None:
        """The delivery can't be settled any more; `result` is what is known of it."""
        self._known.append((_key(delivery), result))
        del self._known[: -4 * self._prefetch]

    def lost(self, in_hand: Mapping[Delivery, Result]) -> None:
        """The link is lost, with these deliveries in hand, and with others that were on their way to us."""
        for delivery in self._settled:
            done: Result = asyncio.get_running_loop().create_future()
            done.set_result(DONE)
            self.unsettled(delivery, done)
        self._settled.clear()
        for delivery, result in in_hand.items():
            self.unsettled(delivery, result)
        self.expect(self._prefetch - len(in_hand))

    def expect(self, count: int) -> None:
        """So many messages, of which we know nothing, may come redelivered because we stopped taking them."""
        self._expected = max(0, count)
        self._expected_until = time.monotonic() + EXPECT_FOR

    def claim(self, delivery: Delivery) -> Result | None:
        """What is known of a redelivered message, or None if another process had it. Forgets it."""
        key = _key(delivery)
        for number in reversed(range(len(self._known))):  # of the same message, the latest is what counts
            known, result = self._known[number]
            if known == key:
                del self._known[number]
                return result
        # One that is suspected already never counts as expected: somebody has died of it, perhaps.
        suspected = history(delivery.message).crashes > 0
        if self._expected and not suspected and time.monotonic() < self._expected_until:
            self._expected -= 1
            not_run: Result = asyncio.get_running_loop().create_future()
            not_run.set_result(None)
            return not_run
        return None

    def running(self) -> set[Result]:
        """What is still at it, without a link."""
        return {result for _, result in self._known if not result.done()}


def _is_done(result: Result) -> bool:
    return result.done() and not result.cancelled() and result.exception() is None and _is_ack(result.result())


def _is_ack(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.action is Action.ACK


def _key(delivery: Delivery, past: History | None = None) -> _Key:
    # The body too, since nobody guarantees that a foreign publisher's ids are unique, or there at all. And the history:
    # a message that was handed over, and is done for here, comes back as another try of its own.
    return delivery.identity, delivery.message.body, history(delivery.message) if past is None else past
