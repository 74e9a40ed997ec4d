"""What both simulated brokers have in common: entries, queues in order, places that are full, and who waits in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Any

from app.queue.errors import BrokerRefusedError, BrokerUnavailableError, UnroutableError
from app.queue.interfaces import Message, Place
from app.queue.messages.message import place_name, places
from app.queue.settings.queues import QueueConfig
from core_tests.simulator.ledger import Ledger
from core_tests.simulator.network import Network, Wire
from core_tests.simulator.timeline import Timeline

ENTRY = "sim-entry"
"""A header that says which entry a message was delivered from: a copy is another one."""
FULL_AGAIN = 1.0
"""Seconds until a message that has waited tries its full queue again."""


class Entry:
    """A message in a queue. It keeps its place in the order when it comes back.

    Attributes:
        count: times it was delivered.
        holder: who had it last.
    """

    __slots__ = ("count", "holder", "message", "number", "until")

    def __init__(self, number: int, message: Message) -> None:
        self.number = number
        self.message = message
        self.count = 0
        self.holder = ""
        self.until = 0.0

    @property
    def delivered(self) -> Message:
        """The message, as it is sent to a consumer."""
        message = self.message
        return Message(message.body, message.message_id, {**message.headers, ENTRY: self.number})


class Queue:
    """One queue: what is ready, in order, and how many are in flight."""

    def __init__(self, name: str, place: Place, delay: float = 0.0) -> None:
        self.name = name
        self.place = place
        self.delay = delay
        self.full = False
        self.in_flight = 0
        self._ready: list[tuple[int, Entry]] = []

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, entry: Entry) -> None:
        """Let it be ready, at its place."""
        heappush(self._ready, (entry.number, entry))

    def take(self) -> Entry:
        """The first; there must be one."""
        return heappop(self._ready)[1]

    def entries(self) -> Iterator[Entry]:
        """A look at all that is ready."""
        return (entry for _, entry in self._ready)


class Store:
    """The queues of one service's queue, and its places. What is common to both kinds of broker."""

    def __init__(
        self, timeline: Timeline, network: Network, chance: random.Random, ledger: Ledger, config: QueueConfig
    ) -> None:
        self.timeline = timeline
        self.network = network
        self.chance = chance
        self.ledger = ledger
        self.alarm = False
        self.queues: dict[str, Queue] = {}
        self._numbers = count(1)
        for place in places(enable_dlq=config.enable_dlq):
            for delay in config.retry.delays() if place is Place.RETRY else (0.0,):
                name = place_name(config.name, place, delay)
                self.queues[name] = Queue(name, place, delay)
        self.main = self.queues[config.name]
        self.waiting = 0
        """Messages that wait for their retry."""

    def at(self, place: Place) -> Queue:
        """The queue that is this place."""
        return next(queue for queue in self.queues.values() if queue.place is place)

    def find(self, name: str) -> Queue:
        """A queue by its name. Raises UnroutableError."""
        queue = self.queues.get(name)
        if queue is None:
            raise UnroutableError(f"there is no queue {name!r}")
        return queue

    def depth(self, wire: Wire, name: str, reply: Callable[[Any], None]) -> None:
        """Answers with how many are ready."""
        queue = self.queues.get(name)
        reply(BrokerRefusedError(f"there is no queue {name!r}") if queue is None else len(queue) + self.counted(queue))

    def counted(self, queue: Queue) -> int:
        """How many of those in flight count."""
        return 0

    def put(self, queue: Queue, message: Message, by: str, delay: float = 0.0) -> None:
        """A message has come from a process. Raises BrokerUnavailableError if the queue is full."""
        if queue.full:
            raise BrokerUnavailableError(f"the broker refused the message: {queue.name!r} is full")
        kept = {name: value for name, value in message.headers.items() if name != ENTRY}
        entry = Entry(next(self._numbers), Message(message.body, message.message_id, kept))
        self.ledger.landed(entry.number, entry.message, queue.place, by, len(queue) + queue.in_flight)
        if queue.place is Place.RETRY:
            self.waiting += 1
            self.timeline.later(delay or queue.delay, self._waited, entry)
        else:
            queue.add(entry)
            self.filled(queue)

    def _waited(self, entry: Entry) -> None:
        """It goes to the tail of the queue, as one that nobody had."""
        if self.main.full:
            self.timeline.later(FULL_AGAIN, self._waited, entry)
            return
        self.waiting -= 1
        self.main.add(Entry(next(self._numbers), entry.message))
        self.filled(self.main)

    def confirm(self, wire: Wire, reply: Callable[[Any], None]) -> None:
        """Say that a message has landed, unless that is to be lost."""
        if wire.loses_confirm:
            self.ledger.note("confirm lost", wire.name)
            wire.cut()
        else:
            reply(True)

    def filled(self, queue: Queue) -> None:
        """Something is ready in it."""

    def connected(self, wire: Wire, blocked: Callable[[bool], None]) -> None:
        """A process has connected."""

    def set_alarm(self, alarm: bool) -> None:
        """Accept no messages, or accept them again."""
        self.alarm = alarm

    def ping(self, wire: Wire, reply: Callable[[Any], None]) -> None:
        """Answer."""
        reply(True)

    def idle(self) -> bool:
        """True if nothing is left that anybody should do something with."""
        if self.waiting:
            return False
        left = (Place.QUEUE, Place.QUARANTINE, Place.DLQ)
        return not any(len(queue) or queue.in_flight for queue in self.queues.values() if queue.place in left)
