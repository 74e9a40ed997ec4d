"""The broker that is polled: it lends a message for a time, and counts how often it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from app.queue.errors import BrokerError, PublisherBlockedError
from app.queue.interfaces import Message
from core_tests.simulator.network import Wire
from core_tests.simulator.store import Entry, Queue, Store

Reply = Callable[[Any], None]
Lent = tuple[int, Message, int, str]
"""The entry's number, the message, how often it was lent before, and to whom last."""


class Request:
    """Somebody waits for messages of a queue."""

    def __init__(self, wire: Wire, holder: str, count: int, reply: Reply) -> None:
        self.wire = wire
        self.holder = holder
        self.count = count
        self.reply = reply


class PolledBroker(Store):
    """Calls of a process come in as methods, with the wire first, and the way to answer last."""

    ack_wait = 20.0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ack_wait = args[-1].ack_wait
        self._lent: dict[str, dict[int, Entry]] = {name: {} for name in self.queues}
        self._requests: dict[str, dict[Request, None]] = {name: {} for name in self.queues}

    def fetch(self, wire: Wire, name: str, holder: str, count: int, wait: float, reply: Reply) -> None:
        """Answers with so many at most, as soon as there are any; with none after `wait` seconds."""
        queue = self.find(name)
        request = Request(wire, holder, count, reply)
        self._requests[name][request] = None
        self.filled(queue)
        if request in self._requests[name]:
            if wait:
                self.timeline.later(wait, self._waited_enough, name, request)
            else:
                self._waited_enough(name, request)

    def own(self, wire: Wire, name: str, holder: str, reply: Reply) -> None:
        """Answers with what this holder has; its time begins anew."""
        mine = [entry for entry in self._lent[name].values() if entry.holder == holder]
        reply([self._lend(self.queues[name], entry, holder) for entry in mine])
        for entry in mine:
            self.ledger.came_again(entry.message, entry.holder)

    def prolong(self, wire: Wire, name: str, holder: str, numbers: Sequence[int], reply: Reply) -> None:
        """Let the time of these begin anew. Answers with those that this holder has no more."""
        lent, lost = self._lent[name], []
        for number in numbers:
            entry = lent.get(number)
            if entry is None or entry.holder != holder:
                lost.append(number)
            else:
                entry.until = self.timeline.now + self.ack_wait
        reply(lost)

    def ack(self, wire: Wire, name: str, holder: str, number: int, reply: Reply) -> None:
        """Forget it. Answers False if this holder has it no more."""
        entry = self._lent[name].get(number)
        if entry is None or entry.holder != holder:
            reply(False)
            return
        del self._lent[name][number]
        queue = self.queues[name]
        queue.in_flight -= 1
        self.ledger.settled(entry.message, queue.place, number)
        reply(True)

    def release(self, wire: Wire, name: str, holder: str, reply: Reply) -> None:
        """Let others have what this holder has."""
        lent = self._lent.get(name, {})
        for entry in [entry for entry in lent.values() if entry.holder == holder]:
            self._back(self.queues[name], entry)
        reply(True)

    def counted(self, queue: Queue) -> int:
        return queue.in_flight

    def publish(self, wire: Wire, name: str, message: Message, delay: float, reply: Reply) -> None:
        """Answers when it is in the queue, or why it isn't."""
        try:
            if self.alarm:
                raise PublisherBlockedError("the broker is out of memory")
            self.put(self.find(name), message, wire.loop.name, delay)
        except BrokerError as error:
            reply(error)
        else:
            self.confirm(wire, reply)

    def filled(self, queue: Queue) -> None:
        requests = self._requests[queue.name]
        for request in list(requests):
            if not len(queue):
                return
            if not request.wire.there:
                del requests[request]
                continue
            taken = [queue.take() for _ in range(min(request.count, len(queue)))]
            queue.in_flight += len(taken)
            del requests[request]
            request.reply([self._lend(queue, entry, request.holder) for entry in taken])

    def _lend(self, queue: Queue, entry: Entry, holder: str) -> Lent:
        known = entry.number in self._lent[queue.name]
        self._lent[queue.name][entry.number] = entry
        lent = (entry.number, entry.delivered, entry.count, entry.holder)
        entry.holder = holder
        entry.count += 1
        self.ledger.delivered(entry.message, queue.place, entry.count)
        entry.until = self.timeline.now + self.ack_wait
        if not known:
            self.timeline.later(self.ack_wait, self._time_is_up, queue, entry)
        return lent

    def _time_is_up(self, queue: Queue, entry: Entry) -> None:
        if self._lent[queue.name].get(entry.number) is not entry:
            return
        if entry.until > self.timeline.now:
            self.timeline.later(entry.until - self.timeline.now, self._time_is_up, queue, entry)
        else:
            self.ledger.ran_out(entry.message.message_id, entry.holder)
            self._back(queue, entry)

    def _back(self, queue: Queue, entry: Entry) -> None:
        del self._lent[queue.name][entry.number]
        queue.in_flight -= 1
        self.ledger.came_again(entry.message, entry.holder)
        queue.add(entry)
        self.timeline.later(0.0, partial(self.filled, queue))

    def _waited_enough(self, name: str, request: Request) -> None:
        if self._requests[name].pop(request, self) is None:
            request.reply([])
