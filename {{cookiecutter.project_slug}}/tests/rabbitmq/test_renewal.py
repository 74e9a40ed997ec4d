"""What the broker may have forgotten, or mistakes for something else, is made anew: consumers, and channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import Delivery, Message
from app.queue.processor import MessageProcessor
from app.queue.providers.rabbitmq.acks import ConsumeChannel
from app.queue.providers.rabbitmq.channel import Channel, PublishChannel
from app.queue.providers.rabbitmq.consumer import AsyncRabbitMQConsumer
from app.queue.setup import get_processor
from tests.tools.example import queue_config
from tests.tools.rabbitmq_queues import channel, depth, drain, publish
from tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


@pytest.fixture(params=["quorum", "classic"])
def config(request: pytest.FixtureRequest, rabbitmq_url: str, queue_name: str) -> Any:
    return queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, queue_type=request.param)


class Receiver:
    """A consumer, and what it has received."""

    def __init__(self, config: Any) -> None:
        self.deliveries: list[Delivery] = []
        self.consumer = AsyncRabbitMQConsumer(config.name, config, MessageProcessor())
        self.consumer.on_delivery = self._take

    async def _take(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)

    async def received(self, count: int) -> None:
        await eventually(lambda: len(self.deliveries) == count, f"{count} are received")


@pytest.fixture
async def receiver(config: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(config)
    await receiver.consumer.open()
    yield receiver
    await receiver.consumer.close()


async def test_a_renewed_consumer_receives_and_settles(config: Any, rabbitmq_url: str, receiver: Receiver) -> None:
    losing = asyncio.create_task(receiver.consumer.lost())
    processor = get_processor(config)
    for count in (1, 2):
        await receiver.consumer.renew()
        assert receiver.consumer.registered
        publish(rabbitmq_url, config.name, b"{}")
        await receiver.received(count)
        await processor.ack(receiver.deliveries[-1])
    await processor.close()
    with channel(rabbitmq_url) as ch:
        assert ch.queue_declare(config.name, passive=True).method.consumer_count == 1
    assert not losing.done()
    losing.cancel()


async def test_a_consumer_that_receives_while_it_is_renewed_can_settle_that(
    config: Any, rabbitmq_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens = Channel.open

    async def slow_open(channel: Channel) -> None:
        await opens(channel)
        publish(rabbitmq_url, config.name, b"{}")
        await receiver.received(1)

    with monkeypatch.context() as patched:
        patched.setattr(Channel, "open", slow_open)
        await receiver.consumer.renew()
    processor = get_processor(config)
    await processor.ack(receiver.deliveries[0])
    await processor.close()
    publish(rabbitmq_url, config.name, b"{}")
    await receiver.received(2)
    await receiver.consumer.stop_intake()
    await receiver.consumer.close()
    await eventually(lambda: depth(rabbitmq_url, config.name) == 1, "only the second returns")


async def test_a_consumer_that_is_closed_while_it_is_renewed_stays_closed(
    config: Any, rabbitmq_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer, closes = receiver.consumer, asyncio.Event()
    consume = consumer._consume

    async def slow_consume(channel: Any) -> str | None:
        tag = await consume(channel)
        closes.set()
        await asyncio.sleep(0)  # close() has begun, and waits for its acks
        return tag

    async def slow_flush(channel: ConsumeChannel) -> None:
        await asyncio.sleep(0.2)

    with monkeypatch.context() as patched:
        patched.setattr(consumer, "_consume", slow_consume)
        patched.setattr(ConsumeChannel, "flush", slow_flush)
        renewing = asyncio.create_task(consumer.renew())
        await closes.wait()
        await consumer.close()
        with pytest.raises(BrokerUnavailableError):
            await renewing
    assert not consumer.registered
    with channel(rabbitmq_url) as ch:
        assert ch.queue_declare(config.name, passive=True).method.consumer_count == 0


async def test_a_consumer_that_can_not_be_renewed_is_lost(
    config: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: Channel) -> None:
        raise BrokerError("no more channels")

    with monkeypatch.context() as patched:
        patched.setattr(Channel, "open", refuse)
        with pytest.raises(BrokerError):
            await receiver.consumer.renew()
    assert await receiver.consumer.lost() == "no more channels"
    assert not receiver.consumer.registered


async def test_a_channel_on_which_a_message_is_refused_is_not_used_again(config: Any, rabbitmq_url: str) -> None:
    full = {"x-queue-type": "classic", "x-max-length": 1, "x-overflow": "reject-publish"}
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(config.name, durable=True, arguments=full)
    publishing = PublishChannel(config)
    await publishing.open()
    await publishing.put(config.name, Message(b"{}", "one"))
    with pytest.raises(BrokerUnavailableError, match="refused"):
        await publishing.put(config.name, Message(b"{}", "two"))
    assert not publishing.is_open
    drain(rabbitmq_url, config.name)
    await publishing.open()
    await publishing.put(config.name, Message(b"{}", "two"))
    await publishing.close()
    ((properties, _),) = drain(rabbitmq_url, config.name)
    assert properties.message_id == "two"
