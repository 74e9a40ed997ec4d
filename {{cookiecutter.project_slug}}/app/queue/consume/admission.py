# The template's: an update changes it. Which files are yours: README.md.
"""Which deliveries may run now: those that have a slot; and in a pause those that can tell something new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from app.queue.consume.in_flight import Record
from app.queue.consume.pause import Pause


class Admission:
    """In a pause, what has never failed is tried as ever, at a pace. What has failed before waits, without a slot.

    One of those that wait is tried now and then: what all of them need may be there again. And when nothing more can be
    received because of them, they are put aside one by one, so that what stands behind them comes.
    """

    def __init__(self, concurrency: int, pause: Pause, is_full: Callable[[], bool]) -> None:
        """`is_full`: nothing more is received until something is settled."""
        self.slots = asyncio.Semaphore(concurrency)  # as many as handlers may run at a time
        self.draining = False  # True: nothing begins any more
        self._pause = pause
        self._is_full = is_full
        self._putting_aside = asyncio.Lock()

    @property
    def at_once(self) -> bool:
        """True while there is a slot for whoever comes."""
        return not self._pause.active and not self.slots.locked()

    async def admit(self, record: Record) -> bool:
        """Wait until the record may run, or can't: with a slot, which the caller gives back. False: put it aside."""
        while not self._pause.active or await self.turn(record):
            await self.slots.acquire()
            admitted = False
            try:
                admitted = not self._pause.active or await self.may_run(record)
                if admitted:
                    return True
            finally:
                if not admitted:
                    self.slots.release()
        return False

    async def turn(self, record: Record) -> bool:
        """Called in a pause, without a slot: wait until the record may run, or can't. False: put it aside."""
        if self._is_full() and not self._waits(record):
            self._pause.wake_one()  # it has filled the window, beside what waits
        while self._waits(record):
            if self._pause.begin_probe():
                record.probe = True
            elif record.history.crashes or not self._is_full():
                await self._pause.wait(makes_room=not record.history.crashes)
            else:
                async with self._putting_aside:  # one after the other, for what is new has the same pace
                    if self._waits(record) and self._is_full():
                        await self._pause.pace()
                        if self._waits(record):
                            return False
        return True

    async def may_run(self, record: Record) -> bool:
        """Called in a pause, with a slot: false if it must give that back, and wait for its turn."""
        if self._waits(record):
            return False
        if not record.probe:
            await self._pause.pace()
        return True

    def drain(self, waiting: int) -> None:
        """Let nothing begin any more. So many wait at most, for a slot or in a pause: they are told at once."""
        self.draining = True
        self._pause.wake()
        for _ in range(waiting):
            self.slots.release()

    def _waits(self, record: Record) -> bool:
        if record.probe or record.lost or self.draining:
            return False
        return self._pause.active and record.history.has_failed
