"""Fixtures for the tests that need a NATS with JetStream."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from core_tests.tools.nats_node import NatsNode

Start = Callable[..., NatsNode]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts private servers, and removes them at the end."""
    if NatsNode.find_server() is None:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("nats-server is not installed, and this test starts its own")
        pytest.skip("nats-server is not installed, and this test starts its own")
    with ExitStack() as stack:

        def start(lines: str = "") -> NatsNode:
            node = NatsNode(lines)
            stack.callback(node.remove)
            node.start()
            return node

        yield start


@pytest.fixture
def nats_url() -> str:
    """The URL of the server under test."""
    url = os.environ.get("NATS_URL")
    if not url:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("there is no NATS: run the tests by `make test`, or set NATS_URL")
        pytest.skip("needs a NATS with JetStream: run the tests by `make test`, or set NATS_URL")
    return url


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    """A client of the test's own."""
    client = Client()
    await client.connect(nats_url, allow_reconnect=False)
    yield client
    await client.close()


@pytest.fixture
def jetstream(client: Client) -> JetStreamContext:
    """What looks into the server's streams."""
    return client.jetstream()


@pytest.fixture
async def queue_name(jetstream: JetStreamContext) -> AsyncIterator[str]:
    """A name of the test's own; whatever was made for it at the server is deleted afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    for stream in await jetstream.streams_info():
        if stream.config.name is not None and name in stream.config.name:
            await jetstream.delete_stream(stream.config.name)
