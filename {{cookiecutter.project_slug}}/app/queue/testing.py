# The template's: an update changes it. Which files are yours: README.md.
"""How a handler is tested: entered and left as in production, called with a payload, and publishing into memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from app.queue import publishing
from app.queue.config import load_queues
from app.queue.interfaces import QueueConsumer
from app.queue.providers.memory.broker import broker
from app.queue.publishing import Publishers
from app.queue.setup import get_consumer, get_dispatcher, get_publisher


class HandlerUnderTest:
    """The handler of one queue."""

    def __init__(self, consumer: QueueConsumer) -> None:
        self._consumer = consumer

    async def process_message(self, payload: Mapping[str, Any]) -> None:
        """Validate the payload and call the method for its type. Raises InvalidMessageError, or what it raises."""
        await self._consumer.process_message(payload)

    @staticmethod
    def published(queue: str) -> list[Any]:
        """What was published to a queue meanwhile, decoded."""
        return [json.loads(message.body) for message in broker.messages(queue)]


@asynccontextmanager
async def handler_of(queue: str) -> AsyncIterator[HandlerUnderTest]:
    """The handler that this project has for the queue; inside, `publish()` reaches every queue of queues.yaml.

    A handler that is an async context manager is entered, and left at the end.
    """
    config = load_queues()
    found = config.queue(queue)
    assert found is not None, f"queues.yaml has no queue {queue!r}"
    dispatcher = get_dispatcher()
    handler = dispatcher.handler(queue)
    broker.declared.update(other.name for other in config.queues)
    publishers = Publishers(config, get_publisher)
    publishing.install(publishers, home=True)
    try:
        async with AsyncExitStack() as stack:
            if isinstance(handler, AbstractAsyncContextManager):
                await stack.enter_async_context(handler)
            yield HandlerUnderTest(get_consumer(found, dispatcher))
    finally:
        publishing.uninstall(publishers)
        await publishers.close()
