"""Pausing: when message after message fails, the fault is not in the messages."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from app.queue.config import PauseConfig


class Pause:
    """Holds deliveries back while everything fails, and lets one through now and then to see whether it still does.

    `after` different messages that fail with no success between them begin a pause; one success ends it. One bad
    message among good ones therefore never does, however often it is retried.
    """

    def __init__(self, config: PauseConfig) -> None:
        self._config = config
        self._failed: set[str] = set()
        self._probing = False
        self._probe_at = 0.0
        self._delay = config.initial_delay
        self._changed = asyncio.Event()
        self.active = False

    def begin_probe(self) -> bool:
        """True if it is time for a probe and none is under way. Then `end_probe()` must follow."""
        if self._probing or time.monotonic() < self._probe_at:
            return False
        self._probing = True
        return True

    def end_probe(self) -> None:
        """The probe is over; `succeeded()` or `failed()` was told how it went, unless it never ran."""
        self._probing = False
        self._probe_at = time.monotonic() + self._delay
        self.wake()

    async def wait(self) -> None:
        """Return when something has changed, or the next probe is due."""
        timeout = None if self._probing else max(0.0, self._probe_at - time.monotonic())
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    def wake(self) -> None:
        """Let everyone who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def succeeded(self) -> bool:
        """A handler returned. True if that ends a pause."""
        ended, self.active = self.active, False
        self._failed.clear()
        if ended:
            self._delay = self._config.initial_delay
            self.wake()
        return ended

    def failed(self, message_id: str, *, probe: bool) -> bool:
        """A handler failed in a way that may pass. True if that begins a pause."""
        if self.active:
            if probe:
                self._delay = min(self._delay * 2, self._config.max_delay)
            return False
        if not self._config.after:
            return False
        self._failed.add(message_id)
        if len(self._failed) < self._config.after:
            return False
        self.active = True
        self._probe_at = time.monotonic() + self._delay
        return True
