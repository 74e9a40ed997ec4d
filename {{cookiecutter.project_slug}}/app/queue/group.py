"""ConsumerGroup: the queues that share one consumer thread and its event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress

from app.queue import publishing
from app.queue.config import QueueConfig, QueuesConfig
from app.queue.dead_letters import DeadLetterPasses
from app.queue.errors import BrokerError
from app.queue.interfaces import QueueHealthCheck
from app.queue.publishing import Publishers
from app.queue.supervisor import Supervisor
from app.queue.suspects import Suspects
from app.queue.worker import QueueWorker

logger = logging.getLogger(__name__)

PROBE_INTERVAL = 5.0
"""Seconds between the periodic health checks of a queue."""
CLOSE_TIMEOUT = 5.0


class Parts:
    """How the parts of one queue are made: `setup.py` knows the providers, this module does not."""

    def __init__(
        self,
        worker: Callable[[QueueConfig], QueueWorker],
        suspects: Callable[[QueueWorker], Suspects],
        passes: Callable[[QueueConfig], DeadLetterPasses],
        health_check: Callable[[QueueConfig], QueueHealthCheck],
        publishers: Callable[[], Publishers],
    ) -> None:
        self.worker = worker
        self.suspects = suspects
        self.passes = passes
        self.health_check = health_check
        self.publishers = publishers


class ConsumerGroup:
    """Runs the workers of a few queues on the loop it is run on, and keeps what health has to know of them."""

    def __init__(self, name: str, queues: Sequence[QueueConfig], config: QueuesConfig, parts: Parts) -> None:
        self.name = name
        self.queues = queues
        self.concurrency = sum(queue.concurrency for queue in queues)
        self.workers: dict[str, QueueWorker] = {}
        self.supervisors: dict[str, Supervisor] = {}
        self._config = config
        self._parts = parts

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set; then drain, and close in bounded time."""
        publishers = self._parts.publishers()
        publishing.install(publishers)
        background: list[asyncio.Task[None]] = []
        for queue in self.queues:
            worker = self.workers[queue.name] = self._parts.worker(queue)
            background.append(asyncio.create_task(self._consume(worker)))
            background.append(asyncio.create_task(self._parts.suspects(worker).run()))
            background.append(asyncio.create_task(probe_forever(self._parts.health_check(queue), worker)))
            if queue.enable_dlq and queue.dlq.retry_interval:
                background.append(asyncio.create_task(self._parts.passes(queue).run()))
        try:
            await stop.wait()
            await asyncio.gather(*(worker.drain(self._config.drain.timeout) for worker in self.workers.values()))
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background, timeout=CLOSE_TIMEOUT)
            publishing.uninstall(publishers)
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await publishers.close()

    async def _consume(self, worker: QueueWorker) -> None:
        """Enter the handler's context, if it has one, and consume until cancelled; then leave it, in the same task."""
        name = worker.queue_name
        supervisor = self.supervisors[name] = Supervisor(worker, f"consumer of {name!r}")
        handler = worker.handler
        try:
            async with AsyncExitStack() as stack:
                if isinstance(handler, AbstractAsyncContextManager):
                    await supervisor.until_it_works(stack.enter_async_context, handler)
                with suppress(asyncio.CancelledError):
                    await supervisor.run()
                if (task := asyncio.current_task()) is not None:
                    task.uncancel()  # the handler leaves in peace, not by an error
        except Exception:
            logger.exception("%s: the handler's __aexit__ failed", name)


async def probe_forever(check: QueueHealthCheck, worker: QueueWorker | None = None) -> None:
    """The periodic health check of one queue on this loop. It also finds a link that died without a word."""
    while True:
        await asyncio.sleep(PROBE_INTERVAL)
        try:
            await check.probe()
            if worker is not None:
                await worker.renew()
        except BrokerError as error:
            logger.warning("%s: %s", check.queue_name, error)
        except Exception:
            logger.exception("%s: the health check failed", check.queue_name)
