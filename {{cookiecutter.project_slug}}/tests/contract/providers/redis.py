"""Redis Streams, on one server."""

from __future__ import annotations

from contextlib import AbstractContextManager

from app.queue.config import QueueConfig
from tests.contract.claims import Claims
from tests.tools.redis_node import RedisNode
from tests.tools.redis_streams import delete_keys, full


def clean(url: str, config: QueueConfig) -> None:
    delete_keys(url, config.name)


def block(node: RedisNode) -> AbstractContextManager[None]:
    return full(node.url)


CLAIMS = Claims(provider="redis", clean=clean, node=RedisNode, keys={"ack_wait": 2}, block=block)
