"""Messages that were in hand when a process died: run one at a time, so that the guilty one is found.

A suspected message waits in a place of its own, where nobody has it in hand. Its count grows only if a process dies
while it runs, and for its first seconds nothing runs beside it. So what else is in hand when it kills a process is
suspected for the first time, and is never blamed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from app.queue.errors import BrokerError
from app.queue.interfaces import DeadLetterQueueHandler

if TYPE_CHECKING:
    from app.queue.worker import QueueWorker

logger = logging.getLogger(__name__)

LOOK_EVERY = 30.0
"""Seconds between looks for suspects that another process has left behind."""
ROOM_TIMEOUT = 10.0
"""Seconds to wait until nothing else is in hand."""
ALONE_FOR = 5.0
"""Seconds for which a suspect runs alone. What kills, kills soon; and the queue can't stand still for long."""


class Suspects:
    """Runs the suspects of one queue, one after the other."""

    def __init__(self, worker: QueueWorker, reader: DeadLetterQueueHandler) -> None:
        self._worker = worker
        self._reader = reader

    async def run(self) -> None:
        """Look for suspects after each connect, whenever the worker finds one, and now and then, until cancelled."""
        try:
            while True:
                await self._worker.found_suspect(LOOK_EVERY * random.uniform(0.9, 1.1))  # noqa: S311
                try:
                    while self._worker.consumes and await self._reader.depth() and await self._run_one():
                        pass
                except BrokerError as error:
                    logger.debug("%s: can't look for suspects now: %s", self._worker.queue_name, error)
                except Exception:
                    logger.exception("%s: running a suspect failed", self._worker.queue_name)
        finally:
            await self._reader.close()

    async def _run_one(self) -> bool:
        """False if there was none after all."""
        async with self._worker.quiet(ROOM_TIMEOUT) as resume:
            delivery = await self._reader.take() if self._worker.consumes else None
            if delivery is None:
                return False
            running = asyncio.ensure_future(self._worker.handle(delivery))
            await asyncio.wait([running], timeout=ALONE_FOR)
            await resume()
            await asyncio.wait([running])
        return True
