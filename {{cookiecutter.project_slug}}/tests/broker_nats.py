# The template's: an update changes it. Which files are yours: README.md.
"""Deletes a queue of NATS with all that was made for it."""

from __future__ import annotations

from contextlib import suppress

from nats.js.errors import NotFoundError

from app.queue.interfaces import Place
from app.queue.messages.message import undivided_name
from app.queue.providers.nats.config import NatsQueueConfig, stream_name
from app.queue.providers.nats.connection import NatsConnectionManager


async def delete(queue: NatsQueueConfig) -> None:
    """Delete it, if it is there."""
    manager = NatsConnectionManager.of(queue)
    connection = await manager.acquire()
    try:
        for place in Place:
            with suppress(NotFoundError):
                await connection.jetstream.delete_stream(stream_name(undivided_name(queue.name, place)))
    finally:
        await manager.release(connection)
