"""A dead-letter queue that is full, a virtual host that takes no more connections, a broker that is short of memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.queue.config import QueueConfig
from core_tests.tools.example import Reject, UserHandler, audio, queue_config, running
from core_tests.tools.full_place import KEYS, hold_and_let_go, leave_in_a_drain
from core_tests.tools.places import dlq_name
from core_tests.tools.rabbitmq_node import RabbitMQNode
from core_tests.tools.rabbitmq_queues import channel, publish
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]

FILLER = b"x" * 20_000
FULL = {"x-max-length-bytes": len(FILLER), "x-overflow": "reject-publish"}


def declare_dlq(url: str, queue: str) -> None:
    with channel(url) as ch:
        ch.queue_delete(dlq_name(queue))
        ch.queue_declare(dlq_name(queue), durable=True, arguments={"x-queue-type": "classic", **FULL})


def purge_dlq(url: str, queue: str) -> None:
    """Not deleted: RabbitMQ confirms what is on its way into a queue that is deleted, and deletes it, too."""
    with channel(url) as ch:
        ch.queue_purge(dlq_name(queue))


async def made(url: str, queue: str) -> QueueConfig:
    """The queue's places are there; the service is to take them as they are."""
    keys: dict[str, Any] = {**KEYS, "queue_type": "classic", "broker_url": url}
    async with running((queue_config(queue, "rabbitmq", **keys), UserHandler())):
        pass
    return queue_config(queue, "rabbitmq", declare=False, **keys)


@asynccontextmanager
async def full(url: str, queue: str) -> AsyncIterator[None]:
    await asyncio.to_thread(declare_dlq, url, queue)
    await asyncio.to_thread(publish, url, dlq_name(queue), FILLER)
    try:
        yield
    finally:
        await asyncio.to_thread(purge_dlq, url, queue)


async def test_a_full_dlq_holds_up_nothing_else(rabbitmq_url: str, queue_name: str) -> None:
    config = await made(rabbitmq_url, queue_name)
    await hold_and_let_go(config, lambda: full(rabbitmq_url, queue_name), "refused the message", "ready")


async def test_a_drain_does_not_wait_for_what_a_full_dlq_refuses(rabbitmq_url: str, queue_name: str) -> None:
    config = await made(rabbitmq_url, queue_name)
    await leave_in_a_drain(config, lambda: full(rabbitmq_url, queue_name))


@pytest.fixture
async def node() -> AsyncIterator[RabbitMQNode]:
    node = RabbitMQNode()
    try:
        await asyncio.to_thread(node.start)
        yield node
    finally:
        await asyncio.to_thread(node.remove)


async def test_a_virtual_host_that_takes_no_more_connections_holds_up_nothing_else(node: RabbitMQNode) -> None:
    @asynccontextmanager
    async def no_more_connections() -> AsyncIterator[None]:
        await asyncio.to_thread(node.ctl, "set_vhost_limits", "-p", "/", '{"max-connections": 1}')
        try:
            yield
        finally:
            await asyncio.to_thread(node.ctl, "clear_vhost_limits", "-p", "/")

    config = queue_config("q", "rabbitmq", broker_url=node.url, queue_type="classic", **KEYS)
    await hold_and_let_go(config, no_more_connections, "connection limit (1) is reached", "down")


async def test_a_broker_that_is_short_of_memory_blocks_what_moves_messages_and_health_says_so(
    node: RabbitMQNode,
) -> None:
    go_on = asyncio.Event()

    async def fail(_: object) -> None:
        while not go_on.is_set():  # noqa: ASYNC110 - it is set on another event loop
            await asyncio.sleep(0.05)
        raise Reject("bad")

    config = queue_config("q", "rabbitmq", broker_url=node.url, **KEYS)
    handler = UserHandler(fail)
    async with running((config, handler)) as service:
        await service.publisher("q").publish_message("q", audio())
        await eventually(lambda: len(handler.attempts) == 1, "it runs")
        alarm = node.memory_alarm()
        await asyncio.to_thread(alarm.__enter__)
        try:
            go_on.set()
            await eventually(lambda: service.health().queues["q"].mover == "blocked", "health says so")
            assert service.health().status == "unhealthy"
        finally:
            await asyncio.to_thread(alarm.__exit__, None, None, None)
        await eventually(lambda: service.health().status == "healthy", "all is well")
        assert service.health().queues["q"].mover is None
    assert len(handler.attempts) == 1
