"""One instance of a service, of which a test decides when it has a link to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.queue.config import QueueConfig, QueuesConfig
from app.queue.consume.quarantine import Quarantine
from app.queue.consume.worker import QueueWorker
from app.queue.interfaces import Place
from app.queue.processor import MessageProcessor
from app.queue.setup import build_service, get_dead_letters
from core_tests.tools.example import UserHandler


@asynccontextmanager
async def instance(config: QueueConfig, handler: UserHandler) -> AsyncIterator[QueueWorker]:
    """Consumes the queue on this event loop, quarantine included; drained and closed at the end."""
    dispatcher = MessageProcessor()
    dispatcher.register_handler(config.name, handler)
    service = build_service(QueuesConfig.model_validate({"queues": [config]}), dispatcher)
    worker = service._parts.worker(config, ())
    await worker.open()
    quarantine = asyncio.create_task(Quarantine(worker, get_dead_letters(config, Place.QUARANTINE)).run())
    try:
        yield worker
    finally:
        await worker.drain(5.0)
        quarantine.cancel()
        await asyncio.wait([quarantine])
        await worker.close()


async def lose_link(worker: QueueWorker) -> None:
    """The consumer loses its link. `await worker.open()` connects again, as a supervisor would."""
    await worker.consumer.close()
    await worker.lost()
