# The template's: an update changes it. Which files are yours: README.md.
"""QueueService: everything that runs in one process, from start to drain. Of the process it changes nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import Literal

from app.queue.errors import ConfigError
from app.queue.interfaces import QueuePublisher
from app.queue.processor import MessageProcessor
from app.queue.run.health import ConsumerHealth, Health, PublisherHealth, queue_health, service_health
from app.queue.run.process import Role
from app.queue.run.sides import ConsumerGroup, Factories, Home
from app.queue.run.supervisor import CLOSE_TIMEOUT
from app.queue.run.threads import ConsumerThreads
from app.queue.settings.queues import QueuesConfig

logger = logging.getLogger(__name__)

STARTING_FOR = 10.0  # seconds in which a service that isn't healthy yet is called starting


class QueueService:
    """Starts the consumers in their threads and the publishers on this loop; knows their health; drains them all."""

    def __init__(self, config: QueuesConfig, dispatcher: MessageProcessor, parts: Factories, role: Role) -> None:
        self.config = config
        self.dispatcher = dispatcher
        self.role = role
        self.draining = False
        self._parts = parts
        self._was_ready = False
        self._started_at = time.monotonic()
        self._groups = self._spread()
        self._threads = ConsumerThreads(self._groups)
        self._home: Home | None = None

    def _spread(self) -> list[ConsumerGroup]:
        consumed = [] if self.role is Role.API else [queue for queue in self.config.queues if queue.enable_consumer]
        for queue in consumed:
            if self.dispatcher.handler(queue.name) is None:
                raise ConfigError(
                    f"queue {queue.name!r} has enable_consumer, but no handler: "
                    "write one in app/queue/handlers/, or set enable_consumer: false"
                )
        count = min(self.config.consumer_threads, len(consumed))
        return [
            ConsumerGroup(f"consumers-{number + 1}", consumed[number::count], self.config, self._parts)
            for number in range(count)
        ]

    async def start(self) -> None:
        """Start everything. Waits for no broker."""
        self._home = Home(self.config, self._parts)
        self._threads.start()
        if self._home.publishes and self.role is not Role.WORKER and not os.environ.get("API_KEY"):
            logger.warning("API_KEY is not set, so every publish over HTTP is answered 401")

    def begin_drain(self) -> None:
        """Be not ready from now on, take nothing more, and finish what runs. Returns at once; `stop()` ends it."""
        if not self.draining:
            logger.info("draining")
        self.draining = True
        self._threads.request_stop()

    async def stop(self) -> list[str]:
        """Drain and close everything, in bounded time. Returns the threads that would not end, and are left behind."""
        self.draining = True
        ended = await self._threads.stop(self.config.drain.timeout, self.config.drain.timeout + 3 * CLOSE_TIMEOUT)
        if self._home is not None:
            await self._home.close()
        left = await asyncio.to_thread(_stuck_threads, [group.name for group in self._groups])
        if not left and not ended:
            left = ["a consumer thread"]
        if left:
            logger.critical(
                "still running after the drain, and left behind: %s. What they were doing will be delivered again.",
                ", ".join(left),
            )
        return left

    def publisher(self, queue: str) -> QueuePublisher:
        """The publisher that HTTP uses. Raises UnknownQueueError or PublisherDisabledError."""
        assert self._home is not None
        return self._home.publisher(queue)

    def readiness(self) -> Literal["ready", "starting", "draining", "unhealthy"]:
        """Whether traffic should come here."""
        if self.draining:
            return "draining"
        if self.health().status == "healthy":
            self._was_ready = True
            return "ready"
        started = self._was_ready or time.monotonic() - self._started_at > STARTING_FOR
        return "unhealthy" if started else "starting"

    def health(self) -> Health:
        names = [queue.name for queue in self.config.queues]
        return service_health({name: queue_health(self._consumer(name), self._publisher(name)) for name in names})

    def _consumer(self, name: str) -> ConsumerHealth:
        for group in self._groups:
            if any(queue.name == name for queue in group.queues):
                return group.health(name, self._threads.trouble(group.name))
        return ConsumerHealth()

    def _publisher(self, name: str) -> PublisherHealth:
        return PublisherHealth("down", "not started yet") if self._home is None else self._home.health(name)


def _stuck_threads(names: list[str]) -> list[str]:
    """Handler threads that don't end within a second. Idle ones end at once, since their executor is shut down."""
    prefixes = tuple(f"{name}-handler" for name in names)
    deadline = time.monotonic() + 1.0
    for thread in threading.enumerate():
        if prefixes and thread.name.startswith(prefixes):
            thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in threading.enumerate() if prefixes and thread.name.startswith(prefixes)]
