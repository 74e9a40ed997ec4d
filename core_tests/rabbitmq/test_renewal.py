"""What the broker may have forgotten, or mistakes for something else, is made anew: consumers, and channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.queue.broker import pushed
from app.queue.broker.on_their_way import OnTheirWay
from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import Arrival, Delivery, Message
from app.queue.processor import MessageProcessor
from app.queue.providers.rabbitmq import consumer
from app.queue.providers.rabbitmq.channel import Channel, PublishChannel
from app.queue.providers.rabbitmq.consumer import AsyncRabbitMQConsumer
from app.queue.providers.rabbitmq.deliveries import ConsumeChannel
from app.queue.setup import get_processor
from core_tests.tools.example import queue_config
from core_tests.tools.rabbitmq_queues import channel, depth, drain, publish
from core_tests.tools.waiting import eventually

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
    closed, closes = receiver.consumer, asyncio.Event()
    register = closed.register

    async def slow_register(channel: Any) -> str:
        tag = await register(channel)
        closes.set()
        await asyncio.sleep(0)  # close() has begun, and waits for its acks
        return tag

    async def slow_flush(channel: ConsumeChannel) -> None:
        await asyncio.sleep(0.2)

    with monkeypatch.context() as patched:
        patched.setattr(closed, "register", slow_register)
        patched.setattr(ConsumeChannel, "flush", slow_flush)
        renewing = asyncio.create_task(closed.renew())
        await closes.wait()
        await closed.close()
        with pytest.raises(BrokerUnavailableError):
            await renewing
    assert not closed.registered
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


async def test_a_consumer_is_registered_anew_when_nothing_comes_and_nothing_is_in_flight(
    config: Any, rabbitmq_url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[int] = []

    async def renew(_: AsyncRabbitMQConsumer) -> None:
        renewed.append(len(receiver.deliveries))

    monkeypatch.setattr(pushed, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(pushed, "RENEW_AFTER", 0.05)
    monkeypatch.setattr(AsyncRabbitMQConsumer, "renew", renew)
    await receiver.consumer.close()
    await receiver.consumer.open()
    await eventually(lambda: len(renewed) > 2, "it is renewed")
    publish(rabbitmq_url, config.name, b"{}")
    await receiver.received(1)
    await asyncio.sleep(0.3)
    assert 1 not in renewed, "the message is in flight"
    processor = get_processor(config)
    await processor.ack(receiver.deliveries[0])
    await processor.close()
    await eventually(lambda: 1 in renewed, "it is renewed again")
    await receiver.consumer.stop_intake()
    renewed.clear()
    await asyncio.sleep(0.3)
    assert not renewed, "nothing is to be received"


async def test_what_a_consumer_had_and_what_was_on_its_way_to_it_is_blamed_on_nobody(
    config: Any, rabbitmq_url: str, receiver: Receiver
) -> None:
    publish(rabbitmq_url, config.name, b"1", b"2", b"3")
    await receiver.received(3)
    assert {delivery.arrival for delivery in receiver.deliveries} == {Arrival.NEW}
    receiver.deliveries.clear()
    await receiver.consumer.close()
    await receiver.consumer.open()
    await receiver.received(3)
    assert {delivery.arrival for delivery in receiver.deliveries} == {Arrival.OURS}
    other = Receiver(config)
    await receiver.consumer.close()
    await other.consumer.open()
    await other.received(3)
    assert {delivery.arrival for delivery in other.deliveries} == {Arrival.ABANDONED}
    await other.consumer.close()


async def test_of_a_stopped_consumer_only_as_much_was_on_its_way_as_there_was_room_for(
    config: Any, rabbitmq_url: str, receiver: Receiver
) -> None:
    count = config.prefetch - 1
    publish(rabbitmq_url, config.name, *[b"{}"] * count)
    await receiver.received(count)
    await receiver.consumer.stop_intake()
    other = Receiver(config)
    publish(rabbitmq_url, config.name, b"{}", b"{}")
    await other.consumer.open()
    await other.received(2)
    await other.consumer.close()
    processor = get_processor(config)
    for delivery in receiver.deliveries:
        await processor.ack(delivery)
    await processor.close()
    receiver.deliveries.clear()
    await receiver.consumer.start_intake()
    await receiver.received(2)
    assert {delivery.arrival for delivery in receiver.deliveries} == {Arrival.OURS, Arrival.ABANDONED}


async def test_a_renewal_to_which_nothing_came_expects_nothing_back(
    config: Any, rabbitmq_url: str, receiver: Receiver
) -> None:
    """Or else the first death on an idle queue would not count."""
    await receiver.consumer.renew()
    await receiver.consumer.stop_intake()
    receiver.consumer._on_their_way = OnTheirWay()
    await receiver.consumer.start_intake()
    await receiver.consumer.renew()
    assert not receiver.consumer._on_their_way.take()


async def test_an_intake_that_stops_and_starts_has_no_more_in_flight_than_before(
    rabbitmq_url: str, queue_name: str
) -> None:
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, prefetch=6, concurrency=1)
    receiver, processor = Receiver(config), get_processor(config)
    await receiver.consumer.open()
    publish(rabbitmq_url, config.name, *[b"{}"] * 60)
    await receiver.received(6)
    for more in (1, 2, 3):  # one at least must be able to come, or nothing would
        await receiver.consumer.stop_intake()
        await receiver.consumer.start_intake()
        await receiver.received(6 + more)
    await asyncio.sleep(0.3)
    assert len(receiver.deliveries) == 9
    acked = 0
    while acked < 60:
        await eventually(lambda: len(receiver.deliveries) > acked, "it goes on")  # noqa: B023 - awaited before the next round
        for delivery in receiver.deliveries[acked:]:
            await processor.ack(delivery)
            acked += 1
        assert receiver.consumer.link.in_flight <= 6
    assert receiver.consumer.window >= 3, "it is wide again"
    await receiver.consumer.close()
    await processor.close()


async def test_a_consumer_that_never_received_expects_nothing_back(
    config: Any, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Receiver(config)
    await first.consumer.open()
    publish(rabbitmq_url, config.name, b"{}")
    await first.received(1)
    await first.consumer.close()
    second = Receiver(config)
    with monkeypatch.context() as patched:
        patched.setattr(consumer, "ensure", refuse_all)
        with pytest.raises(BrokerError):
            await second.consumer.open()
    await second.consumer.open()
    await second.received(1)
    assert second.deliveries[0].arrival is Arrival.ABANDONED
    await second.consumer.close()


async def refuse_all(*_: object, **__: object) -> None:
    raise BrokerError("no")


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
