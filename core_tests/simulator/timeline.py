"""The virtual clock, and event loops that run by it: one loop a process, all of them on one thread and one timeline.

A process dies by its loop being run no more, which may happen between any two steps of its tasks. Nothing of it is
cancelled, and no `finally` runs: as by `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

Result = TypeVar("Result")


class SimulationError(Exception):
    """The simulator itself is wrong, or what runs in it does something that can't be simulated: a thread, a socket."""


class Handle:
    """A call that is due. `loop` is None for the world's own: the broker's, the network's."""

    __slots__ = ("args", "callback", "context", "loop", "time")

    def __init__(
        self,
        loop: VirtualLoop | None,
        time: float,
        callback: Callable[..., object] | None,
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.loop = loop
        self.time = time
        self.callback = callback
        self.args = args
        self.context = context

    def cancel(self) -> None:
        """It is not called."""
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        """True after `cancel()`."""
        return self.callback is None

    def when(self) -> float:
        """When it is due, in virtual seconds."""
        return self.time


class Timeline:
    """Calls in the order of their times; those of one time in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stopped = False
        self.ready: deque[Handle] = deque()
        """Due at the present time, in this order."""
        self._later: list[tuple[float, int, Handle]] = []
        self._order = count()

    def at(self, handle: Handle) -> None:
        """Call it at its time."""
        heappush(self._later, (handle.time, next(self._order), handle))

    def later(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Have the world call something after so many seconds."""
        handle = Handle(None, self.now + delay, callback, args, None)
        self.at(handle)
        return handle

    def stop(self) -> None:
        """Nothing more is called."""
        self.stopped = True

    def clear(self) -> None:
        """Forget all that is due."""
        self.ready.clear()
        self._later.clear()

    def run(self, until: float) -> None:
        """Make one call after the other, until it is stopped, nothing is left, or it is later than `until`."""
        ready, later = self.ready, self._later
        current: VirtualLoop | None = None
        try:
            while not self.stopped:
                if ready:
                    handle = ready.popleft()
                elif later:
                    handle = heappop(later)[2]
                    if handle.time > until:
                        return
                    self.now = max(self.now, handle.time)
                else:
                    return
                callback, loop = handle.callback, handle.loop
                if callback is None:
                    continue
                if loop is not current:
                    current = loop
                    _set_running_loop(loop)
                if loop is None:
                    callback(*handle.args)
                elif not loop.dead:
                    assert handle.context is not None
                    handle.context.run(callback, *handle.args)
                    if loop.fuse:
                        loop.burn()
        finally:
            _set_running_loop(None)


class OrderedFuture(asyncio.Future[Any]):
    """A future whose place in a set does not depend on its address, so that the same seed is the same run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class OrderedTask(asyncio.Task[Any]):
    """The same for a task."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **keys: Any) -> None:
        self.number = number  # first, for asyncio puts it into a set at once
        super().__init__(coro, **keys)

    def __hash__(self) -> int:
        return self.number


_Base: Any = asyncio.AbstractEventLoop
"""For type checkers, since they want all that it has to be there. At run time what isn't raises an error."""


class VirtualLoop(_Base):  # type: ignore[misc]  # its base is Any on purpose, see above
    """The event loop of one process. What it lacks (threads, sockets, signals) raises NotImplementedError."""

    def __init__(self, timeline: Timeline, name: str) -> None:
        self.timeline = timeline
        self.name = name
        self.dead = False
        self.fuse = 0
        """After how many more calls `on_fuse` is called; 0 for never."""
        self.on_fuse: Callable[[], None] | None = None
        self.trouble: list[str] = []
        """What went wrong in a task and reached nobody."""
        self._numbers = count(1)

    def burn(self) -> None:
        """One call of the fuse is over."""
        self.fuse -= 1
        if not self.fuse and self.on_fuse is not None:
            self.on_fuse()

    def time(self) -> float:
        return self.timeline.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self.dead

    def call_soon(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        timeline = self.timeline
        handle = Handle(self, timeline.now, callback, args, context or contextvars.copy_context())
        if not self.dead:
            timeline.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_at(self.timeline.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = Handle(self, when, callback, args, context or contextvars.copy_context())
        if not self.dead:
            self.timeline.at(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        future = OrderedFuture(loop=self)
        future.number = next(self._numbers)
        return future

    def create_task(
        self,
        coro: Coroutine[Any, Any, Result],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[Result]:
        return OrderedTask(next(self._numbers), coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.dead:
            self.trouble.append(f"{context.get('message')}: {context.get('exception')!r}")
