"""Remembers the deliveries that were in hand when a link broke, because the broker will deliver them once more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from app.queue.interfaces import Delivery
from app.queue.policy import Outcome

Task = asyncio.Task[Outcome | None]


class Recall:
    """What this process knows of a redelivered message: it did not crash on it, and may even be running it still.

    Without it a lost connection would run a message twice side by side, and would look like a crash to its count.
    """

    def __init__(self, prefetch: int) -> None:
        self._limit = 4 * prefetch
        self._tasks: list[tuple[tuple[str, bytes], Task]] = []

    def remember(self, in_hand: Mapping[Delivery, Task]) -> None:
        """These deliveries are lost to their link. A task's result is the outcome that is still to be settled."""
        self._tasks += [(_key(delivery), task) for delivery, task in in_hand.items()]
        del self._tasks[: -self._limit]

    def claim(self, delivery: Delivery) -> Task | None:
        """A task that had the same message in hand, if there was one in this process. Forgets it."""
        key = _key(delivery)
        for number, (known, task) in enumerate(self._tasks):
            if known == key:
                del self._tasks[number]
                return task
        return None

    def running(self) -> set[Task]:
        """Tasks that are still at it, without a link."""
        return {task for _, task in self._tasks if not task.done()}


def _key(delivery: Delivery) -> tuple[str, bytes]:
    # The body too, since nobody guarantees that a foreign publisher's ids are unique, or there at all.
    return delivery.identity, delivery.message.body
