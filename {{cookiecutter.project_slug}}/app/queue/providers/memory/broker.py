"""The queues themselves: a few dictionaries behind one lock, shared by all event loops of the process."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from app.queue.interfaces import Message


@dataclass(slots=True)
class _Queue:
    """`ready` holds (message, redelivered); `later` holds (due, order, message), `due` in monotonic seconds."""

    ready: deque[tuple[Message, bool]] = field(default_factory=deque)
    later: list[tuple[float, int, Message]] = field(default_factory=list)
    wakers: list[Callable[[], None]] = field(default_factory=list)


class MemoryBroker:
    """Named queues. All methods may be called from any thread, and return at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        self._order = itertools.count()

    def declare(self, name: str) -> None:
        """Make a queue, unless it is there."""
        with self._lock:
            self._queues.setdefault(name, _Queue())

    def is_declared(self, name: str) -> bool:
        """True if somebody publishes to the queue or consumes it."""
        with self._lock:
            return name in self._queues

    def put(self, name: str, message: Message, delay: float = 0.0) -> None:
        """Add to the tail, or after `delay` seconds."""
        with self._lock:
            queue = self._queues.setdefault(name, _Queue())
            if delay > 0:
                heapq.heappush(queue.later, (time.monotonic() + delay, next(self._order), message))
            else:
                queue.ready.append((message, False))
            wakers = list(queue.wakers)
        for wake in wakers:
            wake()

    def put_back(self, name: str, message: Message) -> None:
        """Return a message to the head: it was taken, and not settled."""
        with self._lock:
            queue = self._queues.setdefault(name, _Queue())
            queue.ready.appendleft((message, True))
            wakers = list(queue.wakers)
        for wake in wakers:
            wake()

    def take(self, name: str) -> tuple[Message, bool] | None:
        """The message at the head, and whether it was taken before. None if none is due."""
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                return None
            now = time.monotonic()
            while queue.later and queue.later[0][0] <= now:
                queue.ready.append((heapq.heappop(queue.later)[2], False))
            return queue.ready.popleft() if queue.ready else None

    def next_due(self, name: str) -> float | None:
        """Seconds until a delayed message is due, if there is one."""
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                return None
            return max(0.0, queue.later[0][0] - time.monotonic()) if queue.later else None

    def depth(self, name: str) -> int:
        """Messages in the queue, delayed ones included, taken ones not."""
        with self._lock:
            queue = self._queues.get(name)
            return len(queue.ready) + len(queue.later) if queue else 0

    def messages(self, name: str) -> list[Message]:
        """A look at what is ready in the queue; nothing is taken."""
        with self._lock:
            queue = self._queues.get(name)
            return [message for message, _ in queue.ready] if queue else []

    def watch(self, name: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake`, which must be thread-safe, whenever something is added. Returns what ends that."""
        with self._lock:
            wakers = self._queues.setdefault(name, _Queue()).wakers
            wakers.append(wake)

        def unwatch() -> None:
            with self._lock:
                if wake in wakers:
                    wakers.remove(wake)

        return unwatch

    def clear(self) -> None:
        """Forget all messages, for tests."""
        with self._lock:
            for queue in self._queues.values():
                queue.ready.clear()
                queue.later.clear()


broker = MemoryBroker()
"""The one of this process."""
