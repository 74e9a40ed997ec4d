"""How the tests use a private server: whether it lets us in, and what it says if not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from app.queue.errors import BrokerError
from app.queue.interfaces import QueuePublisher
from app.queue.setup import get_publisher
from core_tests.tools.example import audio, queue_config
from core_tests.tools.redis_node import RedisNode

Start = Callable[..., RedisNode]
SECRET = "s3cret-hunter2"


@asynccontextmanager
async def publisher(url: str | list[str], **keys: Any) -> AsyncIterator[QueuePublisher]:
    made = get_publisher(queue_config("q", "redis", broker_url=url, **keys))
    try:
        yield made
    finally:
        await made.close()


async def works(url: str | list[str], **keys: Any) -> bool:
    async with publisher(url, **keys) as made:
        return bool(await made.publish_message("q", audio()))


async def refusal(url: str | list[str], **keys: Any) -> BrokerError:
    async with publisher(url, **keys) as made:
        with pytest.raises(BrokerError) as caught:
            await made.open()
    assert SECRET not in str(caught.value)
    return caught.value


async def order(node: RedisNode, *command: str | int) -> None:
    """Have the server do something."""
    client: Any = Redis.from_url(node.url)
    async with client:
        await client.execute_command(*command)
