# The template's: an update changes it. Which files are yours: README.md.
"""TimeLimit: `asyncio.timeout()` for many short stays, at a fifth of its price. until(): an event, or a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def until(event: asyncio.Event, seconds: float | None) -> None:
    """Return when the event is set, after so many seconds at the latest. None: no matter when."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class TimeLimit:
    """`with limit: await ...` cancels what takes longer than `seconds`, and raises TimeoutError in its place.

    Many tasks of one event loop may be inside at a time, each once. Since all have the same time, the one that came
    first is due first: one timer does for all, where asyncio.timeout() starts one for each.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._inside: dict[asyncio.Task[object], tuple[float, int]] = {}
        self._expired: dict[asyncio.Task[object], int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __bool__(self) -> bool:
        """True while somebody is inside."""
        return bool(self._inside)

    def expire(self) -> None:
        """Everybody's time is up. For callbacks: a task that is inside and calls it would be cancelled later on."""
        for task in list(self._inside):
            self._expire(task)

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        due = loop.time() + self._seconds
        self._inside[task] = due, task.cancelling()
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_at(due, self._on_time, loop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._inside.pop(task, None) is None:
            others = self._expired.pop(task)
            # As asyncio.timeout() does: if others cancelled the task meanwhile, it is theirs that counts.
            if task.uncancel() <= others and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _on_time(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._inside:
            task, (due, _) = next(iter(self._inside.items()))
            if due > now:
                self._timer = loop.call_at(due, self._on_time, loop)
                return
            self._expire(task)

    def _expire(self, task: asyncio.Task[object]) -> None:
        _, self._expired[task] = self._inside.pop(task)
        task.cancel()
