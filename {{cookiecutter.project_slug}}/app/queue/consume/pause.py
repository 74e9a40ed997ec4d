# The template's: an update changes it. Which files are yours: README.md.
"""Pausing: when message after message fails, the fault may not be in the messages.

Either what all of them need is down, or a few are bad and stand together. What has never been tried tells which: one
that succeeds, and the fault was in the others.
"""

from __future__ import annotations

import asyncio

from app.queue.clock import now
from app.queue.settings.queues import PauseConfig
from app.queue.time_limit import until

PACE = 100  # messages a second that are tried for the first time, or put aside, in a pause


class Pause:
    """Begins with `after` different messages that fail with no success between, and ends with one success.

    One bad message among good ones therefore never begins one, however often it is retried.
    """

    def __init__(self, config: PauseConfig) -> None:
        self._config = config
        self._failed: set[str] = set()
        self._probing = False
        self._probe_at = 0.0
        self._delay = config.initial_delay
        self._next_at = 0.0
        self._changed = asyncio.Event()
        self._waiting: dict[asyncio.Event, bool] = {}
        self.active = False  # True: it has begun. What fails now is not held against its message

    def begin_probe(self) -> bool:
        """True if it is time for a probe, and none is under way. Then `end_probe()` must follow."""
        if self._probing or now() < self._probe_at:
            return False
        self._probing = True
        return True

    def end_probe(self) -> None:
        """The probe is over; `succeeded()` or `failed()` was told how it went, unless it never ran."""
        self._probing = False
        self._delay = min(self._delay * 2, self._config.max_delay)
        self._probe_at = now() + self._delay
        self.wake()

    async def wait(self, *, makes_room: bool) -> None:
        """Return when something has changed, or the next probe is due; or for `wake_one()`, if it `makes_room`."""
        woken = asyncio.Event()
        self._waiting[woken] = makes_room
        try:
            await until(woken, None if self._probing else self._probe_at - now())
        finally:
            del self._waiting[woken]

    async def pace(self) -> None:
        """Return when it is the caller's turn, PACE times a second, or something has changed."""
        at = max(now(), self._next_at)
        self._next_at = at + 1 / PACE
        if (early := at - now()) > 0:
            await until(self._changed, early)

    def wake(self) -> None:
        """Let everyone who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()
        for woken in self._waiting:
            woken.set()

    def wake_one(self) -> None:
        """Let the first of those that wait, and make room, look again."""
        for woken, makes_room in self._waiting.items():
            if makes_room and not woken.is_set():
                woken.set()
                return

    def succeeded(self) -> bool:
        """A handler returned. True if that ends a pause."""
        ended, self.active = self.active, False
        self._failed.clear()
        if ended:
            self.wake()
        return ended

    def failed(self, message_id: str) -> bool:
        """A handler failed in a way that may pass. True if that begins a pause."""
        if self.active or not self._config.after:
            return False
        self._failed.add(message_id)
        if len(self._failed) < self._config.after:
            return False
        self.active = True
        self._delay = self._config.initial_delay
        self._probe_at = now() + self._delay
        self._next_at = 0.0
        return True
