"""What is in hand, and what is not: competing instances, long handlers, and an intake that stops."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext

from app.queue import group
from app.queue.config import QueueConfig
from app.queue.interfaces import Delivery, QueueConsumer, QueueProcessor
from app.queue.processor import MessageProcessor
from app.queue.providers.nats import connection, pull
from app.queue.setup import get_consumer, get_processor, get_publisher
from tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


class Instance:
    """A consumer that acks what it gets, or keeps it."""

    def __init__(self, config: QueueConfig, *, acks: bool = True) -> None:
        self.got: list[Delivery] = []
        self.consumer: QueueConsumer = get_consumer(config, MessageProcessor())
        self.consumer.on_delivery = self._take
        self._processor: QueueProcessor = get_processor(config)
        self._acks = acks

    async def _take(self, delivery: Delivery) -> None:
        self.got.append(delivery)
        if self._acks:
            await self._processor.ack(delivery)

    async def settle(self) -> None:
        """Ack what was kept."""
        for delivery in list(self.got):
            await self._processor.ack(delivery)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Instance]:
        await self.consumer.open()
        try:
            yield self
        finally:
            await self.consumer.close()
            await self._processor.close()


async def publish(config: QueueConfig, count: int) -> None:
    publisher = get_publisher(config)
    await asyncio.gather(*(publisher.publish_message(config.name, audio(number)) for number in range(count)))
    await publisher.close()


async def test_what_is_in_hand_is_bounded_for_each_instance_by_its_own_prefetch(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    few = queue_config(queue_name, "nats", broker_url=nats_url, prefetch=3, concurrency=1)
    more = queue_config(queue_name, "nats", broker_url=nats_url, prefetch=11, concurrency=1)
    await publish(few, 50)
    async with Instance(few, acks=False).opened() as one, Instance(more, acks=False).opened() as other:
        await eventually(lambda: (len(one.got), len(other.got)) == (3, 11), "both have what they may have")
        await asyncio.sleep(1.5)  # longer than a request lives
        assert (len(one.got), len(other.got)) == (3, 11)
        assert (await jetstream.consumer_info(queue_name, "service")).num_ack_pending == 14
        await one.settle()
        await eventually(lambda: len(one.got) == 6, "as many again")
        messages = [delivery.message.body for delivery in (*one.got, *other.got)]
        assert len(set(messages)) == len(messages) == 17


async def test_a_handler_that_takes_longer_than_ack_wait_keeps_its_message(nats_url: str, queue_name: str) -> None:
    async def slow(_: SendAudioMessage) -> None:
        await asyncio.sleep(3.5)

    one, other = UserHandler(slow), UserHandler(slow)
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=1)
    async with running((config, one)) as service, running((config, other)):
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: bool(one.handled or other.handled), "it is handled")
        await asyncio.sleep(1.5)
        assert len(one.attempts) + len(other.attempts) == 1


async def test_a_message_that_comes_again_while_it_is_in_hand_is_run_once(nats_url: str, queue_name: str) -> None:
    async def block_or_wait(message: SendAudioMessage) -> None:
        if message.user_id == 0:
            time.sleep(2.5)  # noqa: ASYNC251 - blocks the loop, so that nothing can say that we are at it
        await asyncio.sleep(3)

    handler = UserHandler(block_or_wait)
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=1, prefetch=20)
    await publish(config, 5)
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 5, "all are handled")
        await asyncio.sleep(1.5)
        assert len(handler.attempts) == 5


async def test_a_handler_that_blocks_the_loop_is_not_taken_for_a_server_that_is_silent(
    nats_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pull, "SILENT_AFTER", 1.0)
    monkeypatch.setattr(pull, "KEEP_EVERY", 0.2)
    monkeypatch.setattr(connection, "PROBE_TIMEOUT", 1.0)
    monkeypatch.setattr(group, "PROBE_INTERVAL", 0.05)
    handler = UserHandler(lambda _: time.sleep(3))
    config = queue_config(queue_name, "nats", broker_url=nats_url)
    async with running((config, handler)) as service:
        for number in range(3):
            await service.publisher(queue_name).publish_message(queue_name, audio(number))
        await eventually(lambda: len(handler.handled) == 3, "all are handled")
        await asyncio.sleep(1)
    assert "connecting again" not in caplog.text
    assert len(handler.attempts) == 3


async def test_an_intake_that_stops_and_starts_sends_no_message_to_nobody(nats_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=1)
    await publish(config, 500)
    async with Instance(config).opened() as one:
        while len(one.got) < 500:
            await one.consumer.stop_intake()
            assert not one.consumer.registered
            count = len(one.got)
            await asyncio.sleep(0.003)
            assert len(one.got) == count, "a message came after the intake had stopped"
            await one.consumer.start_intake()
            await asyncio.sleep(0.001)
        assert not any(delivery.redelivered for delivery in one.got)


async def test_instances_that_come_and_go_leave_nothing_that_looks_like_a_dead_ones(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=1)
    publisher = get_publisher(config)
    got: list[Delivery] = []
    sent = 0

    async def come_and_go() -> None:
        async with Instance(config).opened() as instance:
            await asyncio.sleep(0.2)
            await instance.consumer.stop_intake()
        got.extend(instance.got)

    async def come_and_go_again() -> None:
        for _ in range(4):
            await come_and_go()

    going = asyncio.gather(*(come_and_go_again() for _ in range(3)))
    while not going.done():
        await publisher.publish_message(queue_name, audio(sent))
        sent += 1
    await going
    await publisher.close()
    async with Instance(config).opened() as last:
        await eventually(lambda: len(got) + len(last.got) >= sent, "all are there")
        got.extend(last.got)
    assert sent > 100
    assert len({delivery.message.message_id for delivery in got}) == len(got) == sent
    assert not any(delivery.redelivered for delivery in got)


async def test_what_a_closed_consumer_had_in_hand_comes_again_at_once(nats_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=60)
    await publish(config, 3)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 3, "all are in hand")
    async with Instance(config).opened() as other:
        await eventually(lambda: len(other.got) == 3, "all came again")
        assert all(delivery.redelivered for delivery in other.got)


async def test_a_delayed_message_waits_in_the_server_while_no_instance_runs(nats_url: str, queue_name: str) -> None:
    broken = True

    def behave(_: object) -> None:
        if broken:
            raise RuntimeError("no")

    retry: dict[str, Any] = {"max_attempts": 3, "initial_delay": 3, "multiplier": 1}
    config = queue_config(queue_name, "nats", broker_url=nats_url, retry=retry)
    first = UserHandler(behave)
    async with running((config, first)) as service:
        await service.publisher(queue_name).publish_message(queue_name, audio(), message_id="one")
        await eventually(lambda: len(first.attempts) == 1, "it has failed")
        failed_at = time.monotonic()
        await asyncio.sleep(0.5)
    broken = False
    second = UserHandler(behave)
    async with running((config, second)):
        await eventually(lambda: len(second.handled) == 1, "it is handled")
        assert time.monotonic() - failed_at >= 2.9
        assert second.attempts == [("one", 2)]


async def test_a_server_that_refuses_every_request_is_no_healthy_one(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, prefetch=20)
    instance = Instance(config)
    async with instance.opened():
        found = (await jetstream.consumer_info(queue_name, "service")).config
    await jetstream.delete_consumer(queue_name, "service")
    wanted = {"stream_name": queue_name, "config": {**found.as_dict(), "max_batch": 5}}
    client = Client()
    await client.connect(nats_url)
    await client.request(f"$JS.API.CONSUMER.DURABLE.CREATE.{queue_name}.service", json.dumps(wanted).encode())
    await client.close()
    taken_as_it_is = queue_config(queue_name, "nats", broker_url=nats_url, prefetch=20, declare=False)
    refused = Instance(taken_as_it_is)
    async with refused.opened():
        why = await asyncio.wait_for(refused.consumer.lost(), 30)
    assert "refuses to give messages" in why
