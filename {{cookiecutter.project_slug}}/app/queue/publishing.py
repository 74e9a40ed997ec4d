# The template's: an update changes it. Which files are yours: README.md.
"""`publish()`: one call for handlers and routes, whatever event loop they are on; and the publishers of each loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

from app.queue.errors import PublisherDisabledError, UnknownQueueError
from app.queue.interfaces import QueuePublisher
from app.queue.messages.body import Body
from app.queue.settings.queues import QueueConfig, QueuesConfig

__all__ = ["PublisherDisabledError", "UnknownQueueError", "publish", "publish_from_thread"]


async def publish(
    queue: str, message: Body, *, message_id: str | None = None, headers: Mapping[str, Any] | None = None
) -> str:
    """Publish `message` to `queue` and return its id once the broker has confirmed it.

    Args:
        queue: a queue in `queues.yaml`.
        message: a pydantic model, a dict, or JSON; with the key `type`.
        message_id: to choose the id, so that a repeat can be recognised.
        headers: the broker's message headers.

    Raises:
        PublishError: it was not published, as far as can be known.
        UnknownQueueError, PublisherDisabledError: `queues.yaml` doesn't allow it.
        RuntimeError: the service isn't running.
    """
    own = _by_loop.get(asyncio.get_running_loop())
    if own is not None:
        return await own.get(queue).publish_message(queue, message, message_id=message_id, headers=headers)
    home = _home()
    call = home.get(queue).publish_message(queue, message, message_id=message_id, headers=headers)
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, home.loop))


def publish_from_thread(
    queue: str, message: Body, *, message_id: str | None = None, headers: Mapping[str, Any] | None = None
) -> str:
    """The same as `publish()` for code that can't await: a plain `def` handler, or a plain `def` route."""
    home = _home()
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        call = publish(queue, message, message_id=message_id, headers=headers)
        return asyncio.run_coroutine_threadsafe(call, home.loop).result()
    raise RuntimeError("publish_from_thread() would block this event loop: use 'await publish(...)' here")


class Publishers:
    """The publishers of one event loop, one a queue, each made when it is first needed."""

    def __init__(self, config: QueuesConfig, make: Callable[[QueueConfig], QueuePublisher]) -> None:
        self.loop = asyncio.get_running_loop()
        self._config = config
        self._make = make
        self._publishers: dict[str, QueuePublisher] = {}

    def get(self, queue: str) -> QueuePublisher:
        """The publisher of a queue. Raises UnknownQueueError or PublisherDisabledError."""
        publisher = self._publishers.get(queue)
        if publisher is None:
            config = self._config.queue(queue)
            if config is None:
                known = ", ".join(queue.name for queue in self._config.queues)
                raise UnknownQueueError(f"there is no queue {queue!r}; queues.yaml has: {known}")
            if not config.enable_publisher:
                raise PublisherDisabledError(f"queue {queue!r} has enable_publisher: false")
            publisher = self._publishers[queue] = self._make(config)
        return publisher

    async def close(self) -> None:
        await asyncio.gather(*(publisher.close() for publisher in self._publishers.values()))


_by_loop: dict[asyncio.AbstractEventLoop, Publishers] = {}
_homes: list[Publishers] = []
_lock = threading.Lock()


def install(publishers: Publishers, *, home: bool = False) -> None:
    """Let `publish()` use these on their loop; `home`: on every loop that has none of its own, too."""
    with _lock:
        _by_loop[publishers.loop] = publishers
        if home:
            _homes.append(publishers)


def uninstall(publishers: Publishers) -> None:
    """The opposite of `install()`."""
    with _lock:
        _by_loop.pop(publishers.loop, None)
        if publishers in _homes:
            _homes.remove(publishers)


def _home() -> Publishers:
    """Those of the loop that serves HTTP. Raises RuntimeError if the service is not running."""
    with _lock:
        if not _homes:
            raise RuntimeError("publish() needs the running service: is lifespan_handler the lifespan of the app?")
        return _homes[-1]
