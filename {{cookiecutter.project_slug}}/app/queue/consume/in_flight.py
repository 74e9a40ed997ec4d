# The template's: an update changes it. Which files are yours: README.md.
"""What of a queue is in flight in this process: a record for each delivery, from when it came until it is settled."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from app.queue.clock import now
from app.queue.messages.headers import History, history_in_queue
from app.queue.messages.message import Delivery
from app.queue.messages.outcome import Outcome

Key = tuple[str, bytes, History]
"""What a message is known by. The body is in it, since nobody guarantees that a foreign publisher's ids are unique, or
there at all. And the history, which no move of ours repeats: what has been moved comes as another message.
"""


def comes_from(key: Key, earlier: Key) -> bool:
    """True if it is the same message, and since then was only taken for one that somebody died of.

    That is the only move which counts a death, so nobody has handled it between, nor sent it anew.
    """
    if key == earlier:
        return True
    (identity, body, history), (earlier_identity, earlier_body, earlier_history) = key, earlier
    deaths = history.crashes - earlier_history.crashes
    if not identity or deaths <= 0 or (identity, body) != (earlier_identity, earlier_body):
        return False
    return history == replace(earlier_history, crashes=history.crashes, moves=earlier_history.moves + deaths)


class Record:
    """One delivery in flight."""

    __slots__ = ("delivery", "history", "in_pause", "link", "lost", "probe", "since", "task")

    def __init__(self, delivery: Delivery, link: object, task: asyncio.Task[Outcome | None]) -> None:
        self.delivery = delivery
        self.history: History = history_in_queue(delivery.message)  # as it came
        self.link = link  # what it came by, the consumer or a reader: it can be settled as long as that has its link
        self.task = task  # handles it. Its result is the outcome that could not be settled, or None
        self.probe = False  # True: it has failed before, and is the one that is tried in a pause
        self.in_pause = False  # True: it was begun in a pause, so its failure is not held against it
        self.lost = False  # True: its link is gone, so it can't be settled any more
        self.since = now()  # when it came, in monotonic seconds

    @property
    def key(self) -> Key:
        return self.delivery.identity, self.delivery.message.body, self.history


class InFlight:
    """The register of a queue's deliveries. Its length is the number of those that can still be settled."""

    def __init__(self) -> None:
        self._records: dict[Delivery, Record] = {}
        self._lost = 0

    def __len__(self) -> int:
        return len(self._records) - self._lost

    def add(self, delivery: Delivery, link: object) -> Record:
        """A delivery has come by this link; the running task handles it."""
        task = asyncio.current_task()
        assert task is not None
        record = self._records[delivery] = Record(delivery, link, task)
        return record

    def twin(self, record: Record) -> Record | None:
        """The same message, which came before over a link whose end is not known yet; None if there is none."""
        if record.delivery.identity:  # without an id, an equal message may well be another one
            for other in self._records.values():
                if other is record:
                    break
                if comes_from(record.key, other.key):
                    return other
        return None

    def remove(self, record: Record) -> None:
        """Its task has ended."""
        del self._records[record.delivery]
        self._lost -= record.lost

    def lose(self, link: object) -> list[Record]:
        """A link is gone. Returns what came by it and is lost by that; handlers that run go on running."""
        lost = [record for record in self._records.values() if record.link is link and not record.lost]
        for record in lost:
            record.lost = True
        self._lost += len(lost)
        return lost

    def by_task(self) -> dict[asyncio.Task[Outcome | None], Record]:
        """All records, also of what is lost and still handled, by what is at it."""
        return {record.task: record for record in self._records.values()}
