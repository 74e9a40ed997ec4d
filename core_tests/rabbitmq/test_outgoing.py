"""A thousand messages that are published at once arrive as they were, and the one that goes nowhere is named."""

from __future__ import annotations

import asyncio
import random

import pytest

from app.queue.errors import BrokerUnavailableError, PublishError, UnroutableError
from app.queue.interfaces import Message
from app.queue.providers.rabbitmq.channel import PublishChannel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from core_tests.tools.rabbitmq_queues import channel, drain

pytestmark = pytest.mark.broker


@pytest.fixture
async def publishing(rabbitmq_url: str, queue_name: str) -> PublishChannel:
    """An open channel; its queue is there."""
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=True)
    publishing = PublishChannel(RabbitMQQueueConfig(name=queue_name, type="rabbitmq", broker_url=rabbitmq_url))
    await publishing.open()
    return publishing


async def test_of_all_sizes_at_once(publishing: PublishChannel, rabbitmq_url: str, queue_name: str) -> None:
    sizes = [0, 1, 131_063, 131_064, 131_065, 300_000, *random.Random(1).choices(range(20_000), k=994)]
    bodies = {f"id-{number}": random.Random(number).randbytes(size) for number, size in enumerate(sizes)}
    sent = [publishing.put(queue_name, Message(body, name, {"n": name})) for name, body in bodies.items()]
    sent.insert(500, publishing.put(f"{queue_name}_nowhere", Message(b"{}", "lost")))
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert [type(answer) for answer in answers if answer is not None] == [UnroutableError]
    assert isinstance(answers[500], UnroutableError)
    await publishing.close()
    found = drain(rabbitmq_url, queue_name)
    assert [(properties.message_id, body) for properties, body in found] == list(bodies.items())
    assert all(properties.headers == {"n": properties.message_id} for properties, _ in found)


async def test_a_full_queue_under_load_costs_another_queue_nothing(
    publishing: PublishChannel, rabbitmq_url: str, queue_name: str
) -> None:
    full = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(f"dlq_{queue_name}", durable=True, arguments=full)
    other = PublishChannel(RabbitMQQueueConfig(name=queue_name, type="rabbitmq", broker_url=rabbitmq_url))
    await other.open()
    connection = other.connection
    assert connection is publishing.connection

    async def put(number: int) -> None:
        try:
            await publishing.open()
            await publishing.put(f"dlq_{queue_name}", Message(b"x" * 3000, f"f{number}"))
        except (BrokerUnavailableError, PublishError):
            await publishing.open()  # as a publisher does when the link was given up

    filling = [asyncio.create_task(put(number)) for number in range(1000)]
    for number in range(60):
        await other.put(queue_name, Message(b"{}", f"o{number}"))
    await asyncio.gather(*filling)
    assert connection.is_open
    assert other.is_open
    await asyncio.gather(publishing.close(), other.close())
    assert len(drain(rabbitmq_url, queue_name)) == 60


async def test_a_channel_that_the_broker_closes_ends_all_that_waits(
    publishing: PublishChannel, rabbitmq_url: str, queue_name: str
) -> None:
    assert publishing.channel is not None
    sent = [asyncio.create_task(publishing.put(queue_name, Message(b"x" * 9000, f"m{n}"))) for n in range(200)]
    await asyncio.sleep(0)
    with pytest.raises(Exception, match="no exchange"):
        await publishing.channel.queue_bind(queue_name, "no_such_exchange", "x")
    answers = await asyncio.gather(*sent, return_exceptions=True)
    assert not publishing.is_open
    await publishing.close()
    await publishing.open()
    await publishing.put(queue_name, Message(b"{}", "again"))
    await publishing.close()
    landed = {properties.message_id for properties, _ in drain(rabbitmq_url, queue_name)}
    told = {f"m{n}": answer for n, answer in enumerate(answers)}
    assert all(answer is None or isinstance(answer, PublishError | BrokerUnavailableError) for answer in answers)
    assert landed >= {"again", *(name for name, answer in told.items() if answer is None)}
    not_sent = {name for name, answer in told.items() if isinstance(answer, BrokerUnavailableError)}
    assert not landed & not_sent
