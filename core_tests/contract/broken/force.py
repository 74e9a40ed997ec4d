"""What the parts of a variant do besides: publish by the provider that they were made of, and go on in a task."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from app.queue.interfaces import Message, Place, Provider, QueueConsumer, QueueProcessor, QueuePublisher
from app.queue.messages.message import place_name
from app.queue.providers import find_provider
from app.queue.settings.queues import QueueConfig

_going_on: set[asyncio.Task[None]] = set()


def original(config: QueueConfig) -> Provider:
    """The provider that a variant was made of."""
    return find_provider(config.type)


def later(what: Coroutine[Any, Any, None]) -> None:
    """Do this beside the rest, until it is done or `end_what_goes_on()` is called."""
    task = asyncio.create_task(what)
    _going_on.add(task)
    task.add_done_callback(_going_on.discard)


async def end_what_goes_on() -> None:
    """End all that variants have begun."""
    tasks = list(_going_on)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def put(part: QueueProcessor | QueueConsumer, message: Message, place: Place) -> None:
    """Publish a message to a place, at the same address."""
    publisher: QueuePublisher = original(part.config).publisher(part.queue_name, part.config, ())
    try:
        await publisher.publish_message(
            place_name(part.queue_name, place),
            message.body,
            message_id=message.message_id,
            headers={**message.headers, "moved": place.value},
        )
    finally:
        await publisher.close()
