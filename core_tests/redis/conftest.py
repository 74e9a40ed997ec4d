"""Fixtures for the tests that need a Redis."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from core_tests.tools.redis_node import RedisNode


@pytest.fixture
def redis_url() -> str:
    """The URL of the server under test."""
    url = os.environ.get("REDIS_URL")
    if not url:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("there is no Redis: run the tests by `make test`, or set REDIS_URL")
        pytest.skip("needs a Redis: run the tests by `make test`, or set REDIS_URL")
    return url


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Any]:
    """A client of the test's own."""
    client = Redis.from_url(redis_url, decode_responses=True)
    yield client
    await client.aclose()


@pytest.fixture
async def queue_name(client: Any) -> AsyncIterator[str]:
    """A name of the test's own; whatever was made for it at the server is deleted afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    keys = [key async for key in client.scan_iter(f"*{name}*")]
    if keys:
        await client.delete(*keys)


@pytest.fixture
def start() -> Iterator[Callable[..., RedisNode]]:
    """Starts private servers with these options in their configuration, and removes them at the end."""
    if RedisNode.find_server() is None:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("redis-server is not installed, and this test starts its own")
        pytest.skip("redis-server is not installed, and this test starts its own")
    with ExitStack() as stack:

        def start(options: Mapping[str, object] | None = None) -> RedisNode:
            node = RedisNode(options)
            stack.callback(node.remove)
            node.start()
            return node

        yield start
