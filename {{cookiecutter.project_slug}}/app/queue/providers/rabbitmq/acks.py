"""Acks in batches: one frame for many deliveries, since a frame for each is a quarter of what a message costs."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import aiormq.abc

from app.queue.errors import BrokerError, DeliveryLostError
from app.queue.providers.rabbitmq.channel import Channel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose
from app.queue.providers.rabbitmq.errors import translated

BATCH_DELAY = 0.002
"""Seconds that an ack may wait for others to go with."""
STALL_DELAY = 0.05
"""Seconds after which a delivery is acked by itself, because one before it is still being handled."""
FLUSH_TIMEOUT = 1.0
GONE = "the delivery's channel is gone"


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
    A tag that never came this far counts as unfinished, so no frame ever covers it.
    """

    def __init__(self, prefetch: int) -> None:
        self._batch = max(1, prefetch // 4)
        self._half = max(1, prefetch // 2)
        self._next = 1
        """All below are finished, or among the unfinished, which are in order."""
        self._unfinished: dict[int, None] = {}
        self._behind: dict[int, float] = {}
        self._prefix = 0
        self._last = 0
        self._since = 0.0
        self.begun = False
        """True if what was finished last began a batch, which may be due earlier than anything before it."""

    def finish(self, tag: int, now: float) -> bool:
        """The delivery may be acked. True if a frame is due at once. Nothing happens the second time."""
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
            return len(self._behind) >= self._half
        if self.begun:
            self._since = now
        reached = [other for other in self._behind if other < head]
        for other in reached:
            del self._behind[other]
        self._prefix += 1 + len(reached)
        self._last = max(tag, *reached) if reached else tag
        return self._prefix >= self._batch

    def take(self, now: float, *, everything: bool = False) -> Ack | None:
        """The next frame, if it is time for one. It counts as sent."""
        if self._prefix and (everything or self._prefix >= self._batch or now >= self._since + BATCH_DELAY):
            ack = Ack(self._last, multiple=self._prefix > 1)
            self._prefix = 0
            return ack
        if self._behind:
            tag, finished = next(iter(self._behind.items()))
            if everything or len(self._behind) >= self._half or now >= finished + STALL_DELAY:
                del self._behind[tag]
                return Ack(tag, multiple=False)
        return None

    def next_due(self) -> float | None:
        """When a frame is due, if nothing more is finished."""
        times = [self._since + BATCH_DELAY] if self._prefix else []
        if self._behind:
            times.append(next(iter(self._behind.values())) + STALL_DELAY)
        return min(times, default=None)


class Acks:
    """Sends what is due on one open channel. What it could not send when the channel ends is delivered once more."""

    def __init__(self, channel: aiormq.abc.AbstractChannel, prefetch: int) -> None:
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._window = AckWindow(prefetch)
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    def ack(self, tag: int) -> None:
        """The delivery is done; its ack is on its way within STALL_DELAY."""
        if self._window.finish(tag, self._loop.time()):
            self._send()
        elif self._timer is None or self._window.begun:
            self._wait()

    async def flush(self) -> None:
        """Send all that there is; return after FLUSH_TIMEOUT at the latest."""
        for _ in range(2):  # what is being sent already, and then what is left
            if self._sending is None:
                self._send(everything=True)
            if self._sending is not None:
                await asyncio.wait([self._sending], timeout=FLUSH_TIMEOUT / 2)

    def close(self) -> None:
        """The channel is gone, and the deliveries with it."""
        self._closed = True
        self._stop_timer()
        if self._sending is not None:
            self._sending.cancel()

    def _wait(self) -> None:
        self._stop_timer()
        due = self._window.next_due()
        if due is not None:
            self._timer = self._loop.call_at(due, self._send)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self, *, everything: bool = False) -> None:
        self._stop_timer()
        # A task, and only one: frames must not overtake each other, and a write that waits for a frozen link must not
        # be cancelled by whoever finished last.
        if self._sending is None:
            self._sending = self._loop.create_task(self._send_due(everything=everything))
            self._sending.add_done_callback(self._sent)

    async def _send_due(self, *, everything: bool) -> None:
        with suppress(BrokerError), translated("ack"):  # the channel's end is told to the supervisor, with its reason
            while (ack := self._window.take(self._loop.time(), everything=everything)) is not None:
                await self._channel.basic_ack(ack.tag, ack.multiple, wait=False)

    def _sent(self, _: asyncio.Task[None]) -> None:
        self._sending = None
        if not (self._closed or self._channel.is_closed):
            self._wait()


class ConsumeChannel(Channel):
    """A channel that receives, and acks what it received."""

    def __init__(self, config: RabbitMQQueueConfig) -> None:
        super().__init__(config, Purpose.CONSUME)
        self._acks: Acks | None = None

    async def open(self) -> None:
        await super().open()
        if self._acks is None:
            self._acks = Acks(self.underlay, self._config.prefetch)

    def ack(self, underlay: aiormq.abc.AbstractChannel, tag: int) -> None:
        """Ack what came over `underlay`, together with others. Raises DeliveryLostError."""
        if self._channel is not underlay or underlay.is_closed or self._acks is None:
            raise DeliveryLostError(GONE)
        self._acks.ack(tag)

    def check(self, underlay: aiormq.abc.AbstractChannel) -> None:
        """Raise DeliveryLostError if the channel is another one by now: tags mean nothing there."""
        if not self.is_open or self._channel is not underlay:
            raise DeliveryLostError(GONE)

    async def flush(self) -> None:
        """Send the acks that wait for others."""
        if self._acks is not None and self.is_open:
            await self._acks.flush()

    async def _close(self) -> None:
        await self.flush()
        acks, self._acks = self._acks, None
        await super()._close()
        if acks is not None:
            acks.close()
