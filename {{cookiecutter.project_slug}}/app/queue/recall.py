"""Remembers the deliveries that were in hand when a link broke, because the broker will deliver them once more."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from app.queue.interfaces import Delivery, Message
from app.queue.policy import Outcome

Task = asyncio.Task[Outcome | None]


class Recall:
    """What this process knows of a redelivered message: it did not crash on it, and may even be running it still.

    Without it a lost connection would run a message twice side by side, and would look like a crash to its count.
    """

    def __init__(self, prefetch: int) -> None:
        self._limit = 4 * prefetch
        self._tasks: OrderedDict[tuple[str, bytes], Task] = OrderedDict()

    def remember(self, in_hand: Mapping[Delivery, Task]) -> None:
        """These deliveries are lost to their link. A task's result is the outcome that is still to be settled."""
        for delivery, task in in_hand.items():
            self._tasks[_key(delivery.message)] = task
        while len(self._tasks) > self._limit:
            self._tasks.popitem(last=False)

    def claim(self, message: Message) -> Task | None:
        """The task that had this message in hand, if it was in this process. Forgets it."""
        return self._tasks.pop(_key(message), None)

    def running(self) -> Iterable[Task]:
        """Tasks that are still at it, without a link."""
        return {task for task in self._tasks.values() if not task.done()}


def _key(message: Message) -> tuple[str, bytes]:
    # The body too, since nobody guarantees that a foreign publisher's ids are unique.
    return message.message_id, message.body
