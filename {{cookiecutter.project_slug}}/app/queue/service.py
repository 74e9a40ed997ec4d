"""QueueService: everything that runs in one process, from start to drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any, Literal

from app.queue import publishing
from app.queue.config import QueueConfig, QueuesConfig
from app.queue.environment import Role
from app.queue.errors import ConfigError
from app.queue.group import CLOSE_TIMEOUT, ConsumerGroup, Parts, probe_forever
from app.queue.health_check import ConsumerStatus, Health, PublisherStatus, QueueHealth
from app.queue.interfaces import QueuePublisher
from app.queue.processor import MessageProcessor
from app.queue.supervisor import Supervisor
from app.queue.threads import ConsumerThreads

logger = logging.getLogger(__name__)

STARTING_FOR = 10.0
"""Seconds in which a service that isn't healthy yet is called starting."""


class QueueService:
    """Starts the consumers in their threads and the publishers on this loop; knows their health; drains them all."""

    def __init__(self, config: QueuesConfig, dispatcher: MessageProcessor, parts: Parts, role: Role) -> None:
        self.config = config
        self.dispatcher = dispatcher
        self.role = role
        self.draining = False
        self._parts = parts
        self._was_ready = False
        self._started_at = time.monotonic()
        self._groups = self._spread()
        self._threads = ConsumerThreads(self._groups)
        self._publishers: publishing.Publishers | None = None
        self._publisher_supervisors: dict[str, Supervisor] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._old_handlers: dict[int, Any] = {}
        self._signalled = False

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
        self._publishers = self._parts.publishers()
        publishing.install(self._publishers, home=True)
        for queue in self.config.queues:
            if queue.enable_publisher:
                publisher = self._publishers.get(queue.name)
                supervisor = Supervisor(publisher, f"publisher of {queue.name!r}")
                self._publisher_supervisors[queue.name] = supervisor
                self._tasks.append(asyncio.create_task(supervisor.run()))
                self._tasks.append(asyncio.create_task(probe_forever(self._parts.health_check(queue))))
        self._threads.start()
        self._chain_signals()
        if self._publisher_supervisors and self.role is not Role.WORKER and not os.environ.get("API_KEY"):
            logger.warning("API_KEY is not set, so every publish over HTTP is answered 401")

    async def stop(self) -> None:
        """Drain and close everything, in bounded time. Ends the process if a thread won't end and a signal asked."""
        self.draining = True
        self._restore_signals()
        ended = await self._threads.stop(self.config.drain.timeout, self.config.drain.timeout + 3 * CLOSE_TIMEOUT)
        assert self._publishers is not None
        publishing.uninstall(self._publishers)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT)
        stuck = await asyncio.to_thread(_stuck_threads, [group.name for group in self._groups])
        if stuck or not ended:
            logger.critical(
                "still running after the drain, and left behind: %s. What they were doing will be delivered again.",
                ", ".join(stuck) or "a consumer thread",
            )
            if self._signalled:
                logging.shutdown()
                os._exit(1)

    def publisher(self, queue: str) -> QueuePublisher:
        """The publisher that HTTP uses. Raises UnknownQueueError or PublisherDisabledError."""
        assert self._publishers is not None
        return self._publishers.get(queue)

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
        """The state of every queue, as of now."""
        queues = {queue.name: self._queue_health(queue) for queue in self.config.queues}
        healthy = all(queue.status == "healthy" for queue in queues.values())
        return Health(status="healthy" if healthy else "unhealthy", queues=queues)

    def _queue_health(self, queue: QueueConfig) -> QueueHealth:
        consumer, why_consumer = self._consumer_status(queue.name)
        publisher, why_publisher = self._publisher_status(queue.name)
        healthy = consumer != "down" and publisher not in ("down", "blocked")
        return QueueHealth(
            status="healthy" if healthy else "unhealthy",
            consumer=consumer,
            publisher=publisher,
            circuit_breaker="closed" if publisher == "disabled" else self.publisher(queue.name).breaker_state,
            detail="; ".join(dict.fromkeys(filter(None, (why_consumer, why_publisher)))) or None,
        )

    def _consumer_status(self, name: str) -> tuple[ConsumerStatus, str | None]:
        group = next((group for group in self._groups if any(queue.name == name for queue in group.queues)), None)
        if group is None:
            return "disabled", None
        worker, supervisor = group.workers.get(name), group.supervisors.get(name)
        trouble = self._threads.trouble(group.name)
        if trouble is not None or worker is None or supervisor is None:
            return "down", trouble or "not started yet"
        if supervisor.detail is not None or not (worker.consumer.registered or worker.quiet_now):
            return "down", supervisor.detail or "the broker does not have the consumer"
        if worker.pause.active:
            return "paused", "many different messages failed in a row; one is tried now and then"
        return "running", "a message that may have killed a process runs alone" if worker.quiet_now else None

    def _publisher_status(self, name: str) -> tuple[PublisherStatus, str | None]:
        supervisor = self._publisher_supervisors.get(name)
        if supervisor is None:
            return "disabled", None
        state = self.publisher(name).state
        if state == "blocked":
            return state, "the broker accepts no messages for now (memory or disk alarm)"
        return state, None if state == "ready" else supervisor.detail or "the link to the broker has just been lost"

    def _chain_signals(self) -> None:
        """On SIGTERM, say 503 for a while before the server closes its port: that is all a load balancer sees."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: FrameType | None) -> None:
            delay = self.config.drain.delay if number == signal.SIGTERM and not self.draining else 0.0
            loop.call_soon_threadsafe(self._begin_drain)
            loop.call_soon_threadsafe(loop.call_later, delay, self._pass_on, number, frame)

        for number in (signal.SIGTERM, signal.SIGINT):
            if callable(signal.getsignal(number)):
                self._old_handlers[number] = signal.signal(number, handle)

    def _begin_drain(self) -> None:
        if not self.draining:
            logger.info("draining")
        self.draining = self._signalled = True
        self._threads.request_stop()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._old_handlers[number](number, frame)

    def _restore_signals(self) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)


def _stuck_threads(names: list[str]) -> list[str]:
    """Handler threads that don't end within a second. Idle ones end at once, since their executor is shut down."""
    prefixes = tuple(f"{name}-handler" for name in names)
    deadline = time.monotonic() + 1.0
    for thread in threading.enumerate():
        if prefixes and thread.name.startswith(prefixes):
            thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in threading.enumerate() if prefixes and thread.name.startswith(prefixes)]
