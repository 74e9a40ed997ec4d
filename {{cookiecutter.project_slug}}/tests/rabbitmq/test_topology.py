"""Queues that are made, checked, or there already."""

from __future__ import annotations

from typing import Any

import pytest

from app.queue.errors import BrokerRefusedError
from app.queue.names import dlq_name
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_publisher
from tests.tools.example import UserHandler, audio, queue_config, running
from tests.tools.rabbitmq_queues import channel, depth
from tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def _ignore(_: object) -> None:
    """Take a delivery, and do nothing."""


async def open_and_close(config: Any) -> None:
    consumer = get_consumer(config, MessageProcessor())
    consumer.on_delivery = _ignore
    await consumer.open()
    await consumer.close()


async def test_without_declare_every_missing_queue_is_named_with_its_arguments(
    rabbitmq_url: str, queue_name: str
) -> None:
    with pytest.raises(BrokerRefusedError) as caught:
        await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=False))
    text = str(caught.value)
    for name in (queue_name, f"dlq_{queue_name}", f"parked_{queue_name}", f"retry_{queue_name}_100"):
        assert f"{name} (durable" in text
    assert "x-message-ttl: 100" in text
    assert depth(rabbitmq_url, queue_name) == -1, "nothing was made"


async def test_without_declare_queues_that_are_there_are_used(rabbitmq_url: str, queue_name: str) -> None:
    await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))
    handler = UserHandler()
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=False), handler)):
        publisher = get_publisher(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=False))
        await publisher.publish_message(queue_name, audio())
        await publisher.close()
        await eventually(lambda: len(handler.handled) == 1, "it is handled")


async def test_a_queue_of_the_other_type_is_used_as_it_is_with_a_warning(
    rabbitmq_url: str, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=True, arguments={"x-queue-type": "classic"})
    await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))
    assert "is used as it is" in caplog.text
    assert "'quorum'" in caplog.text
    assert "'classic'" in caplog.text
    assert depth(rabbitmq_url, dlq_name(queue_name)) == 0


async def test_a_queue_that_would_lose_messages_is_refused_naming_both_sides(
    rabbitmq_url: str, queue_name: str
) -> None:
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=False)
    with pytest.raises(BrokerRefusedError, match=r"durable.*received 'true' but current is 'false'"):
        await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))


async def test_a_deleted_queue_is_made_again_and_consumed(rabbitmq_url: str, queue_name: str) -> None:
    handler = UserHandler()
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    async with running((config, handler)) as service:
        with channel(rabbitmq_url) as ch:
            ch.queue_delete(queue_name)
        publisher = service.publisher(queue_name)
        await publisher.publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
