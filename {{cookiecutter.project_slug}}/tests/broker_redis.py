# The template's: an update changes it. Which files are yours: README.md.
"""Deletes a queue of Redis with all that was made for it."""

from __future__ import annotations

from app.queue.interfaces import Place
from app.queue.messages.message import undivided_name
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.connection import RedisConnectionManager


async def delete(queue: RedisQueueConfig) -> None:
    """Delete it, if it is there."""
    manager = RedisConnectionManager.of(queue)
    connection = await manager.acquire()
    try:
        for place in Place:
            await connection.call("DEL", undivided_name(queue.name, place))
    finally:
        await manager.release(connection)
