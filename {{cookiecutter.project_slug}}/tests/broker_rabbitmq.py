# The template's: an update changes it. Which files are yours: README.md.
"""Deletes a queue of RabbitMQ with all that was made for it."""

from __future__ import annotations

from app.queue.interfaces import Place
from app.queue.messages.message import place_name
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose, RabbitMQConnectionManager


async def delete(queue: RabbitMQQueueConfig) -> None:
    """Delete it, if it is there."""
    names = [place_name(queue.name, place) for place in Place if place is not Place.RETRY]
    names += [place_name(queue.name, Place.RETRY, delay) for delay in queue.retry.delays()]
    manager = RabbitMQConnectionManager.of(queue, Purpose.CONSUME)
    connection = await manager.acquire()
    try:
        async with connection.scratch_channel() as channel:
            for name in names:
                await channel.queue_delete(name)
    finally:
        await manager.release(connection)
