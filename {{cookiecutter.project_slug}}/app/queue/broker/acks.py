# The template's: an update changes it. Which files are yours: README.md.
"""Acks in batches: one frame for many deliveries, since a frame for each is a quarter of what a message costs."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress

from app.queue.broker.ack_window import Ack, AckWindow
from app.queue.broker.connection import Connection
from app.queue.broker.pushed import GONE, PushLink
from app.queue.errors import BrokerError, DeliveryLostError

FLUSH_TIMEOUT = 1.0


class BatchedAcks(ABC):
    """Sends what is due on one open channel. What it could not send when the channel ends is delivered once more."""

    def __init__(self, prefetch: int, concurrency: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._window = AckWindow(prefetch, concurrency)
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    @property
    @abstractmethod
    def over(self) -> bool:
        """True once the channel is closed. Its end is told to the supervisor by others, with its reason."""

    @abstractmethod
    async def send(self, ack: Ack) -> None:
        """Write one ack. Raises BrokerError."""

    def ack(self, tag: int, in_flight: int) -> None:
        """The delivery is done, and `in_flight` others are not; its ack is on its way within STALL_DELAY."""
        if self._window.finish(tag, self._loop.time(), in_flight):
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
        with suppress(BrokerError):
            while (ack := self._window.take(self._loop.time(), everything=everything)) is not None:
                await self.send(ack)

    def _sent(self, _: asyncio.Task[None]) -> None:
        self._sending = None
        if not (self._closed or self.over):
            self._wait()


class BatchedLink(PushLink[Connection]):
    """A link whose acks wait a moment for others to go with."""

    acks: BatchedAcks | None = None  # those of its channel

    @abstractmethod
    def make_acks(self) -> BatchedAcks:
        """For the channel, which has just been opened."""

    async def open(self) -> None:
        await super().open()
        if self.acks is None:
            self.acks, self.in_flight = self.make_acks(), 0

    def ack(self, number: int) -> None:
        if self.acks is None or self.acks.over:
            raise DeliveryLostError(GONE)
        self.acks.ack(number, self.in_flight - 1)

    async def flush(self) -> None:
        """Send the acks that wait for others."""
        if self.acks is not None and self.is_open:
            await self.acks.flush()

    async def _close(self) -> None:
        await self.flush()
        acks, self.acks = self.acks, None
        await super()._close()
        if acks is not None:
            acks.close()
