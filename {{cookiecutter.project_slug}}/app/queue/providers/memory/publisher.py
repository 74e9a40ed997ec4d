"""MemoryPublisher: puts a message into the process's own queues."""

from __future__ import annotations

import asyncio

from app.queue.errors import UnroutableError
from app.queue.interfaces import Message, PublisherState
from app.queue.providers.memory.broker import broker
from app.queue.publisher import GuardedPublisher


class MemoryPublisher(GuardedPublisher):
    """Always ready."""

    async def open(self) -> None:
        broker.declare(self.queue_name)

    async def lost(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def state(self) -> PublisherState:
        return "ready"

    async def send(self, queue: str, message: Message) -> None:
        if not broker.is_declared(queue):
            raise UnroutableError(f"there is no queue {queue!r}; the message went nowhere")
        broker.put(queue, message)
