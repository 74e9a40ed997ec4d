"""What RabbitMQ 4 limits by default, and RabbitMQ 3 does not, or much less: deliveries, and the bytes of a message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.queue.config import QueueConfig
from app.queue.errors import MessageTooLargeError
from app.queue.providers.rabbitmq import channel as module
from core_tests.tools.example import Reject, UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name, parked_name, quarantine_name
from core_tests.tools.rabbitmq_node import RabbitMQNode
from core_tests.tools.rabbitmq_queues import channel, depth, publish
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]

RETURNS = 25
"""More than the 20 deliveries after which RabbitMQ 4 drops a message of a quorum queue that says nothing else."""
LIMIT = 1_000_000


@pytest.fixture
def node() -> Iterator[RabbitMQNode]:
    """A node that takes bodies of LIMIT bytes."""
    node = RabbitMQNode()
    try:
        node.configure(f"max_message_size = {LIMIT}")
        node.start()
        yield node
    finally:
        node.remove()


def restart(node: RabbitMQNode, limit: int) -> None:
    node.kill()
    node.configure(f"max_message_size = {limit}")
    node.start()


def config_of(node: RabbitMQNode, **keys: Any) -> QueueConfig:
    return queue_config("q", "rabbitmq", broker_url=node.url, max_message_bytes=8 * LIMIT, **keys)


async def test_a_message_comes_back_as_often_as_may_be_wherever_it_is_kept(rabbitmq_url: str, queue_name: str) -> None:
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), UserHandler())):
        pass
    places = [queue_name, dlq_name(queue_name), quarantine_name(queue_name), parked_name(queue_name)]

    def come_back(place: str) -> int:
        publish(rabbitmq_url, place, b"{}")
        for _ in range(RETURNS):
            with channel(rabbitmq_url) as ch:
                ch.basic_get(place)
        return depth(rabbitmq_url, place)

    assert [await asyncio.to_thread(come_back, place) for place in places] == [1, 1, 1, 1]


async def test_a_quorum_queue_of_somebody_else_without_a_delivery_limit_is_said_to_lose_messages(
    rabbitmq_url: str, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=True, arguments={"x-queue-type": "quorum"})
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), UserHandler())):
        pass
    (said,) = {line for line in caplog.messages if "no delivery limit" in line}
    assert f"queue '{queue_name}'" in said


async def test_a_body_that_the_broker_does_not_take_costs_others_their_channel_once(node: RabbitMQNode) -> None:
    async with running((config_of(node), UserHandler())) as service:
        publisher = service.publisher("q")
        for time in ("the broker says so", "it is known"):
            big = publisher.publish_message("q", audio(content="x" * 2 * LIMIT))
            others = [publisher.publish_message("q", audio()) for _ in range(5 if time == "it is known" else 0)]
            refused, *published = await asyncio.gather(big, *others, return_exceptions=True)
            assert isinstance(refused, MessageTooLargeError), time
            assert f"and the broker takes {LIMIT}" in str(refused)
            assert not refused.may_have_landed
            assert all(isinstance(one, str) for one in published)
            await eventually(lambda: service.health().status == "healthy", "the publisher is connected")


async def test_a_body_that_the_broker_does_not_take_any_more_is_held_and_never_dropped(
    node: RabbitMQNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BODY_LIMIT_FOR", 1.0)

    def reject(_: object) -> None:
        raise Reject("bad")

    config, handler = config_of(node), UserHandler(reject)
    async with running((config, UserHandler())):
        pass
    body = json.dumps(audio(content="x" * (LIMIT - 1000))).encode()
    await asyncio.to_thread(publish, node.url, "q", body)
    await asyncio.to_thread(restart, node, LIMIT // 2)
    async with running((config, handler)) as service:
        await eventually(lambda: service.health().queues["q"].consumer == "held", "it is held")
        health = service.health().queues["q"]
        assert f"the message has {len(body)} bytes, and the broker takes {LIMIT // 2}" in str(health.detail)
        assert health.mover == "ready"
        await asyncio.to_thread(restart, node, LIMIT)
        await eventually(lambda: depth(node.url, dlq_name("q")) == 1, "it is in the DLQ", 60)
