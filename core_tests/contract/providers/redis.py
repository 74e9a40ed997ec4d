"""Redis Streams, on one server."""

from __future__ import annotations

from contextlib import AbstractContextManager

from app.queue.config import QueueConfig
from core_tests.contract.claims import Candidate
from core_tests.tools.redis_node import RedisNode
from core_tests.tools.redis_streams import delete_keys, full


def clean(url: str, config: QueueConfig) -> None:
    delete_keys(url, config.name)


def block(node: RedisNode) -> AbstractContextManager[None]:
    return full(node.url)


CANDIDATE = Candidate(
    provider="redis",
    clean=clean,
    node=RedisNode,
    keys={"ack_wait": 2},
    block=block,
    reasons={"drops_repeats": "a stream keeps whatever is added"},
)
