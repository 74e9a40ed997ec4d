# The template's: an update changes it. Which files are yours: README.md.
"""The two sides of a service, each on an event loop: ConsumerGroup, for each consumer thread, and Home, for HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass

from app.queue.consume.quarantine import Quarantine
from app.queue.consume.worker import QueueWorker
from app.queue.dead_letters import DeadLetterPasses
from app.queue.foreign_code import ends_task
from app.queue.interfaces import QueueHealthCheck, QueuePublisher
from app.queue.middleware import HandleMiddleware, PerLoop, PublishMiddleware
from app.queue.publishing import Publishers, install, uninstall
from app.queue.run.health import (
    ConsumerHealth,
    PublisherHealth,
    consumer_health,
    probe_forever,
    publisher_health,
    watch_blocked,
)
from app.queue.run.loop_middleware import LoopMiddleware
from app.queue.run.supervisor import CLOSE_TIMEOUT, Supervisor
from app.queue.settings.queues import QueueConfig, QueuesConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Factories:
    """The middleware, and how the parts are made: `setup.py` knows the providers, this wing does not."""

    handle_middleware: Sequence[HandleMiddleware | PerLoop[HandleMiddleware]]
    publish_middleware: Sequence[PublishMiddleware | PerLoop[PublishMiddleware]]
    publishers: Callable[[Sequence[PublishMiddleware]], Publishers]
    worker: Callable[[QueueConfig, Sequence[HandleMiddleware]], QueueWorker]
    quarantine: Callable[[QueueWorker], Quarantine]
    passes: Callable[[QueueConfig], DeadLetterPasses]
    health_check: Callable[[QueueConfig], QueueHealthCheck]


class ConsumerGroup:
    """Runs the workers of a few queues on the loop it is run on, and keeps what health has to know of them."""

    def __init__(self, name: str, queues: Sequence[QueueConfig], config: QueuesConfig, parts: Factories) -> None:
        self.name = name
        self.queues = queues
        self.concurrency = sum(queue.concurrency for queue in queues)
        self._config = config
        self._parts = parts
        self._middleware: LoopMiddleware | None = None
        self._workers: dict[str, QueueWorker] = {}
        self._supervisors: dict[str, Supervisor] = {}

    def health(self, queue: str, trouble: str | None) -> ConsumerHealth:
        """The state of a queue's consumer, as of now, from any thread. `trouble`: what is wrong with its thread."""
        worker, supervisor = self._workers.get(queue), self._supervisors.get(queue)
        if worker is None or supervisor is None or self._middleware is None:
            return ConsumerHealth("down", trouble or "not started yet")
        return consumer_health(worker, trouble or self._middleware.detail or supervisor.detail)

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; then drain, and close in bounded time."""
        middleware = self._middleware = LoopMiddleware(self._parts.handle_middleware, self._parts.publish_middleware)
        publishers = self._parts.publishers(middleware.publishing)
        install(publishers)
        background: list[asyncio.Task[None]] = []
        for queue in self.queues:
            worker = self._workers[queue.name] = self._parts.worker(queue, middleware.handling)
            background.append(asyncio.create_task(self._consume(worker, middleware)))
            background.append(asyncio.create_task(self._parts.quarantine(worker).run()))
            background.append(asyncio.create_task(probe_forever(self._parts.health_check(queue))))
            if queue.enable_dlq and queue.dlq.retry_interval:
                background.append(asyncio.create_task(self._parts.passes(queue).run()))
        try:
            await stop.wait()
            drains = [worker.drain(self._config.drain.timeout) for worker in self._workers.values()]
            for error in await asyncio.gather(*drains, return_exceptions=True):
                if isinstance(error, BaseException):  # the others have drained all the same
                    logger.error("a drain failed", exc_info=error)
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background, timeout=CLOSE_TIMEOUT)
            uninstall(publishers)
            closing = (middleware.close(), publishers.close())
            await asyncio.wait([*map(asyncio.ensure_future, closing)], timeout=CLOSE_TIMEOUT)

    async def _consume(self, worker: QueueWorker, middleware: LoopMiddleware) -> None:
        """Enter the handler's context, if it has one, and consume until cancelled; then leave it, in the same task."""
        supervisor = self._supervisors[worker.queue_name] = Supervisor(worker, "consumer")
        await middleware.opened()
        handler = worker.handler
        try:
            async with AsyncExitStack() as stack:
                if isinstance(handler, AbstractAsyncContextManager):
                    await supervisor.until_it_works(stack.enter_async_context, handler)
                with suppress(asyncio.CancelledError):
                    await supervisor.run()
                if (task := asyncio.current_task()) is not None:
                    task.uncancel()  # the handler leaves in peace, not by an error
        except BaseException as error:
            if ends_task(error):
                raise
            logger.exception("%s: the handler's __aexit__ failed", worker.queue_name)


class Home:
    """Keeps the publishers connected, and their middleware open. Made, and closed, on the loop that it is for."""

    def __init__(self, config: QueuesConfig, parts: Factories) -> None:
        self._middleware = LoopMiddleware((), parts.publish_middleware)
        self._publishers = parts.publishers(self._middleware.publishing)
        self._supervisors: dict[str, Supervisor] = {}
        self._tasks: list[asyncio.Task[None]] = []
        install(self._publishers, home=True)
        for queue in config.queues:
            if queue.enable_publisher:
                supervisor = self._supervisors[queue.name] = Supervisor(self.publisher(queue.name), "publisher")
                self._tasks.append(asyncio.create_task(supervisor.run()))
                self._tasks.append(asyncio.create_task(probe_forever(parts.health_check(queue))))
        self._tasks.append(asyncio.create_task(watch_blocked([*map(self.publisher, self._supervisors)])))

    @property
    def publishes(self) -> bool:
        return bool(self._supervisors)

    def publisher(self, queue: str) -> QueuePublisher:
        """The publisher of a queue. Raises UnknownQueueError or PublisherDisabledError."""
        return self._publishers.get(queue)

    def health(self, queue: str) -> PublisherHealth:
        """The state of a queue's publisher, as of now."""
        supervisor = self._supervisors.get(queue)
        if supervisor is None:
            return PublisherHealth()
        return publisher_health(self.publisher(queue), self._middleware.detail, supervisor.detail)

    async def close(self) -> None:
        """Close everything, in bounded time."""
        uninstall(self._publishers)
        for task in self._tasks:
            task.cancel()
        closing = asyncio.create_task(self._middleware.close())
        await asyncio.wait([closing, *self._tasks], timeout=CLOSE_TIMEOUT)
