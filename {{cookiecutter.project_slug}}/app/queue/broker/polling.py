# The template's: an update changes it. Which files are yours: README.md.
"""Polling: the loop that asks a broker for messages, as many as there is room for, and never more."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from app.queue.broker.leases import Leases
from app.queue.errors import BrokerError

LOOK_EVERY = 1.0
SILENT_AFTER = 10.0  # seconds after the time that a request may take, until one without an answer is given up


class Polling(ABC):
    """Calls `fetch(room)` again and again while it is started, and has `limit` messages in flight at most.

    An error in it ends the loop, and so does a `fetch` that does not return: that is told to `on_end`.
    """

    def __init__(self, leases: Leases[Any], limit: int, on_end: Callable[[str], None], *, patience: float) -> None:
        self._leases = leases
        self._limit = limit
        self._held = 0
        self._on_end = on_end
        self._patience = patience
        self._closing = False
        self._started = asyncio.Event()
        self._fetching = False
        self._fetches = 0
        self._polling = asyncio.create_task(self._poll())
        self._watching = asyncio.create_task(self._watch())

    @abstractmethod
    async def fetch(self, room: int) -> None:
        """Ask once for `room` messages, take what comes into the leases, and hand it to the consumer's `took()`.

        Returns when nothing more can come of that: within `patience` seconds, since a request may often not be taken
        back. Raises BrokerError.
        """

    @property
    def asks(self) -> bool:
        """True while messages are asked for."""
        return self._started.is_set() and not self._polling.done()

    def start(self) -> None:
        """Ask for messages, and go on so."""
        self._started.set()

    def stop(self) -> None:
        """Ask for no more. What was asked for may still come, for up to `patience` seconds."""
        self._started.clear()

    def make_room(self, held: int) -> None:
        """Have `held` more in flight than the limit."""
        self._held = held
        self._leases.room.set()

    async def close(self) -> None:
        """End, after what was asked for has come, or is known not to.

        To end before that would let messages be sent to nobody: they would come again only when their time is over, and
        look like those of a process that died.
        """
        self.stop()
        self._closing = True
        connection = self._leases.connection
        if self._fetching and connection.is_open:
            ends: set[asyncio.Future[Any]] = {self._polling, connection.ended}
            await asyncio.wait(ends, timeout=self._patience + 1.0, return_when=asyncio.FIRST_COMPLETED)
        for task in (self._polling, self._watching):
            task.cancel()
        await asyncio.wait([self._polling, self._watching])

    async def _poll(self) -> None:
        room = self._leases.room
        try:
            while not self._closing:
                free = self._limit + self._held - len(self._leases)
                if not self._started.is_set():
                    await self._started.wait()
                elif free <= 0:
                    room.clear()
                    await room.wait()
                else:
                    self._fetches += 1
                    self._fetching = True
                    await self.fetch(free)
                    self._fetching = False
        except BrokerError as error:
            self._on_end(str(error))
        except Exception as error:  # noqa: BLE001 - told to the supervisor, which opens the consumer anew
            self._on_end(f"{self._leases.where}: asking for messages failed: {type(error).__name__}: {error}")

    async def _watch(self) -> None:
        # Time is counted in looks: a handler may block this loop for long, and then what came is not read yet.
        seen, looks = 0, 0.0
        while True:
            await asyncio.sleep(LOOK_EVERY)
            looks = looks + LOOK_EVERY if self._fetching and self._fetches == seen else 0.0
            seen = self._fetches
            if looks > self._patience + SILENT_AFTER:
                self._polling.cancel()
                self._on_end(f"{self._leases.where}: the broker does not answer for the consumer")
                return
