# The template's: an update changes it. Which files are yours: README.md.
"""The queues themselves: a few dictionaries behind one lock, shared by all event loops of the process."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from app.queue.interfaces import Arrival, Message


@dataclass(slots=True)
class _Queue:
    """`ready` holds (message, who had it); `later` holds (due, order, message), `due` in monotonic seconds."""

    ready: deque[tuple[Message, object]] = field(default_factory=deque)
    later: list[tuple[float, int, Message]] = field(default_factory=list)
    wakers: dict[Callable[[], object], None] = field(default_factory=dict)


class MemoryBroker:
    """Named queues. All methods may be called from any thread, and return at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: defaultdict[str, _Queue] = defaultdict(_Queue)
        self._order = itertools.count()
        self.declared: set[str] = set()  # by whoever publishes or consumes

    def put(self, name: str, message: Message, delay: float = 0.0, holder: object = None) -> None:
        """Add to the tail, or after `delay` seconds; to the head, if a `holder` had taken it, and did not settle it."""
        with self._lock:
            queue = self._queues[name]
            if holder is not None:
                queue.ready.appendleft((message, holder))
            elif delay > 0:
                heapq.heappush(queue.later, (time.monotonic() + delay, next(self._order), message))
            else:
                queue.ready.append((message, None))
            wakers = list(queue.wakers)
        for wake in wakers:
            with suppress(RuntimeError):  # its event loop is closed
                wake()

    def take(self, name: str, holder: object) -> tuple[Message, Arrival] | None:
        """The message at the head, and how it comes to `holder`. None if none is due."""
        with self._lock:
            queue = self._queues[name]
            while queue.later and queue.later[0][0] <= time.monotonic():
                queue.ready.append((heapq.heappop(queue.later)[2], None))
            if not queue.ready:
                return None
            message, last = queue.ready.popleft()
        again = Arrival.OURS if last is holder else Arrival.ABANDONED
        return message, Arrival.NEW if last is None else again

    def next_due(self, name: str) -> float | None:
        """Seconds until a delayed message is due, if there is one."""
        with self._lock:
            later = self._queues[name].later
            return max(0.0, later[0][0] - time.monotonic()) if later else None

    def depth(self, name: str) -> int:
        """Messages in the queue, delayed ones included, taken ones not."""
        with self._lock:
            queue = self._queues[name]
            return len(queue.ready) + len(queue.later)

    def messages(self, name: str) -> list[Message]:
        """A look at what is ready in the queue; nothing is taken."""
        with self._lock:
            return [message for message, _ in self._queues[name].ready]

    def watch(self, name: str, wake: Callable[[], object]) -> Callable[[], object]:
        """Call `wake`, which must be thread-safe, whenever something is added. Returns what ends that."""
        with self._lock:
            self.declared.add(name)
            wakers = self._queues[name].wakers
            wakers[wake] = None
        return lambda: wakers.pop(wake, None)

    def clear(self) -> None:
        """Forget all messages, for tests."""
        with self._lock:
            for queue in self._queues.values():
                queue.ready.clear()
                queue.later.clear()


broker = MemoryBroker()  # the one of this process
