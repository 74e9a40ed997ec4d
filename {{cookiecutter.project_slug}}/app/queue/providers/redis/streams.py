"""The keys of one queue: a stream for each place, and a sorted set for what waits for its next attempt."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Iterator

from app.queue.interfaces import Place
from app.queue.names import place_name
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.errors import translated
from app.queue.providers.redis.scripts import ENSURE

logger = logging.getLogger(__name__)

DEAD_AFTER = 120.0
"""Seconds after which the name of a consumer that has nothing in hand, and asks for nothing, is forgotten."""


def key(queue: str, place: Place) -> str:
    """Where a place's messages are."""
    return f"retry_{queue}_delayed" if place is Place.RETRY else place_name(queue, place)


def streams(config: RedisQueueConfig) -> Iterator[str]:
    """The streams that consuming `config` needs. The sorted set is made by what is put there."""
    for place in (Place.QUEUE, Place.SUSPECTS, Place.DLQ, Place.PARKED):
        if config.enable_dlq or place not in (Place.DLQ, Place.PARKED):
            yield key(config.name, place)


async def ensure_stream(client: RedisClient, stream: str) -> None:
    """Make the stream and its group, unless they are there. Raises BrokerError."""
    with translated(f"stream {stream!r}"):
        if await client.run(ENSURE, [stream], [round(DEAD_AFTER * 1000)]):
            logger.info("stream %r, or its group, was not there, and has been made", stream)


def consumer_name() -> str:
    """A new name in a group, of use to whoever looks at XINFO CONSUMERS."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
