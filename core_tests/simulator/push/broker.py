"""The broker that pushes: channels, prefetch, acks without an answer, confirms, wait queues, an alarm."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import Message, Place
from core_tests.simulator.network import Wire
from core_tests.simulator.store import Entry, Queue, Store
from core_tests.simulator.timeline import Handle

OnMessage = Callable[[int, Message, bool, int], None]
"""Takes a delivery: its tag, the message, whether it is redelivered, and how often it was delivered before."""


OnClosed = Callable[[str, float], None]
"""Takes why the broker has closed a channel, and after how many seconds it takes back what is not acked."""


class Channel:
    """One channel: what it has in flight, and what it consumes."""

    def __init__(self, wire: Wire, on_closed: OnClosed) -> None:
        self.wire = wire
        self.on_closed = on_closed
        self.open = True
        self.unacked: dict[int, tuple[Queue, Entry, Handle | None]] = {}
        self.queue: Queue | None = None
        self.prefetch = 0
        self.on_message: OnMessage | None = None
        self.tag = 0
        self.window = 0
        """Of what is unacked, what came to the present consumer: that is what `prefetch` bounds."""
        self.before = 0
        """The last tag of earlier consumers of the channel."""


class Session:
    """One connection. What it sends after a publish waits as long as there is an alarm."""

    def __init__(self, blocked: Callable[[bool], None]) -> None:
        self.blocked = blocked
        self.channels: dict[Channel, None] = {}
        self.stalled: deque[Callable[[], None]] = deque()
        self.told = False
        """Since the alarm began: only then it is told, and read no more."""


class PushBroker(Store):
    """Calls of a process come in as methods, with the wire first, and the way to answer last."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._sessions: dict[Wire, Session] = {}
        self._consumers: deque[Channel] = deque()
        self._takes_back_after: float = args[-1].takes_back_after
        self._known_from: dict[object, float] = {}
        """Since when a process knows that, by its loop. It learns it from its configuration, or from what it loses."""
        self._known = 0.0 if args[-1].consumer_timeout else math.inf

    # --- connections and channels

    def connected(self, wire: Wire, blocked: Callable[[bool], None]) -> None:
        self._sessions[wire] = Session(blocked)
        wire.on_gone = partial(self._gone, wire)

    def ping(self, wire: Wire, reply: Callable[[Any], None]) -> None:
        self._in_order(wire, partial(reply, True))

    def open_channel(self, wire: Wire, on_closed: OnClosed, reply: Callable[[Any], None]) -> None:
        """Answers with a new channel."""

        def opened() -> None:
            channel = Channel(wire, on_closed)
            self._sessions[wire].channels[channel] = None
            reply(channel)

        self._in_order(wire, opened)

    def close_channel(self, wire: Wire, channel: Channel, reply: Callable[[Any], None]) -> None:
        """What it has in flight goes back."""

        def closed() -> None:
            self._sessions[wire].channels.pop(channel, None)
            self._close(channel)
            reply(True)

        self._in_order(wire, closed)

    def _in_order(self, wire: Wire, call: Callable[[], None]) -> None:
        """Do it now, unless the connection is not read for an alarm."""
        session = self._sessions[wire]
        if session.stalled or (self.alarm and session.told):
            session.stalled.append(call)
        else:
            call()

    def _gone(self, wire: Wire) -> None:
        for channel in self._sessions.pop(wire).channels:
            self._close(channel)

    def _close(self, channel: Channel) -> None:
        channel.open = False
        if channel.queue is not None:
            channel.queue = None
            self._consumers.remove(channel)
        unacked, channel.unacked = channel.unacked, {}
        for queue, entry, _ in unacked.values():
            self._back(channel, queue, entry)
        for queue in {queue.name: queue for queue, _, _ in unacked.values()}.values():
            self.filled(queue)

    def _overdue(self, channel: Channel, tag: int, since: float) -> None:
        """What is not acked by now is taken back, and all else that came by its channel."""
        if tag not in channel.unacked:
            return
        wire, (_, entry, _) = channel.wire, channel.unacked[tag]
        knows = since >= self._known_from.get(wire.loop, self._known) and not wire.loop.dead
        self.ledger.taken_back(entry.message.message_id, wire.loop.name, since, knows=knows)
        self._sessions[wire].channels.pop(channel)
        self._close(channel)
        wire.down(channel.on_closed, "delivery acknowledgement on channel timed out", self._takes_back_after)

    def told(self, loop: object) -> None:
        """A process has learned how long it may have what it consumes."""
        self._known_from[loop] = self.timeline.now

    def _back(self, channel: Channel, queue: Queue, entry: Entry) -> None:
        queue.in_flight -= 1
        self.ledger.came_again(entry.message, channel.wire.loop.name)
        queue.add(entry)

    # --- consuming

    def consume(
        self,
        wire: Wire,
        channel: Channel,
        queue: str,
        prefetch: int,
        on_message: OnMessage,
        reply: Callable[[Any], None],
    ) -> None:
        """Push what is in the queue, so many in flight at most."""
        if not channel.open:
            reply(BrokerUnavailableError("the channel is closed"))
            return
        channel.queue, channel.prefetch, channel.on_message = self.find(queue), prefetch, on_message
        channel.window, channel.before = 0, channel.tag
        self._consumers.append(channel)
        reply(True)
        self.filled(channel.queue)

    def cancel(self, wire: Wire, channel: Channel, reply: Callable[[Any], None]) -> None:
        """Push no more. What is on its way may be taken back; then it counts as redelivered."""
        queue, channel.queue = channel.queue, None
        if queue is not None:
            self._consumers.remove(channel)
            withdraws = self.chance.random() < 0.5
            for tag, (place, entry, frame) in list(channel.unacked.items()):
                if withdraws and frame is not None and frame.time > self.timeline.now:
                    frame.cancel()
                    del channel.unacked[tag]
                    self._back(channel, place, entry)
        reply(True)
        if queue is not None:
            self.filled(queue)

    def get(self, wire: Wire, channel: Channel, name: str, reply: Callable[[Any], None]) -> None:
        """Answers with the next delivery, or None."""
        queue = self.find(name)
        reply(self._deliver(channel, queue) if len(queue) and channel.open else None)

    def ack(self, wire: Wire, channel: Channel, tag: int) -> None:
        """It is done."""
        if (found := channel.unacked.pop(tag, None)) is not None:
            queue, entry, _ = found
            queue.in_flight -= 1
            channel.window -= tag > channel.before
            self.ledger.settled(entry.message, queue.place, entry.number)
            self.filled(queue)

    def filled(self, queue: Queue) -> None:
        if queue.place is not Place.QUEUE:
            return
        consumers = self._consumers
        for _ in range(len(consumers)):
            if not len(queue):
                return
            channel = consumers[0]
            consumers.rotate(-1)
            while len(queue) and channel.window < channel.prefetch:
                assert channel.on_message is not None
                delivery = self._deliver(channel, queue)
                channel.window += 1
                frame = channel.wire.down(channel.on_message, *delivery)
                channel.unacked[delivery[0]] = (*channel.unacked[delivery[0]][:2], frame)
                if len(consumers) > 1:
                    break
        if len(queue) and any(channel.window < channel.prefetch for channel in consumers):
            self.filled(queue)

    def _deliver(self, channel: Channel, queue: Queue) -> tuple[int, Message, bool, int]:
        entry = queue.take()
        queue.in_flight += 1
        channel.tag += 1
        channel.unacked[channel.tag] = (queue, entry, None)
        before = entry.count
        entry.count += 1
        self.ledger.delivered(entry.message, queue.place, entry.count)
        if self._takes_back_after:
            self.timeline.later(self._takes_back_after, self._overdue, channel, channel.tag, self.timeline.now)
        return channel.tag, entry.delivered, before > 0, before

    # --- publishing

    def publish(self, wire: Wire, name: str, message: Message, reply: Callable[[Any], None]) -> None:
        """Answers when it is in the queue, or why it isn't."""
        session = self._sessions[wire]
        if self.alarm and not session.told:
            session.told = True
            wire.down(session.blocked, True)
        self._in_order(wire, partial(self._publish, wire, name, message, reply))

    def _publish(self, wire: Wire, name: str, message: Message, reply: Callable[[Any], None]) -> None:
        try:
            self.put(self.find(name), message, wire.loop.name)
        except BrokerError as error:
            reply(error)
        else:
            self.confirm(wire, reply)

    def set_alarm(self, alarm: bool) -> None:
        super().set_alarm(alarm)
        for wire, session in list(self._sessions.items()):
            if session.told and not alarm:
                session.told = False
                wire.down(session.blocked, False)
            while not alarm and session.stalled:
                session.stalled.popleft()()
