# The template's: an update changes it. Which files are yours: README.md.
"""Turns: what has the same name happens one after the other. Seldom: what may happen now and then only."""

from __future__ import annotations

import asyncio

from app.queue.clock import now


class Turns:
    """Who takes a name gives it back, and waits before until all who came earlier have. It costs a publish little."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    async def take(self, name: str) -> None:
        while name in self._waiting:
            waiters = self._waiting[name]
            waiters.append(asyncio.get_running_loop().create_future())
            await waiters[-1]
        self._waiting[name] = []

    def give_back(self, name: str) -> None:
        for waiter in self._waiting.pop(name):
            if not waiter.done():
                waiter.set_result(None)


class Seldom:
    """Says for each name when something is due that must not happen often: at once, then after ever longer pauses."""

    def __init__(self, first: float, most: float) -> None:
        """Seconds between two times: at first, and at most."""
        self._first, self._most = first, most
        self._next: dict[str, tuple[float, float]] = {}

    def due(self, name: str) -> bool:
        """True if it is due now, and then it is taken to be done."""
        asked_at = now()
        due, pause = self._next.get(name, (asked_at, self._first))
        if asked_at < due:
            return False
        self._next[name] = (asked_at + pause, min(2 * pause, self._most))
        return True

    def over(self, name: str) -> None:
        """What made it due is over."""
        if self._next:
            self._next.pop(name, None)
