"""What is in flight, and what is not: competing instances, long handlers, and an intake that stops."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.js import JetStreamContext

from app.queue.broker import connection, leases, polling
from app.queue.errors import BrokerUnavailableError, DeliveryLostError
from app.queue.interfaces import Arrival, Delivery
from app.queue.providers.nats import delayed
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.leases import Pull
from app.queue.providers.nats.put import put
from app.queue.run import health
from app.queue.setup import get_processor, get_publisher
from core_tests.tools.consumer import Instance, publish
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


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


async def test_an_ack_that_nobody_takes_is_tried_again_and_lost_only_with_its_consumer(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cluster nobody takes it for the seconds in which the consumer has no leader."""

    async def nobody(*_: Any) -> Msg:
        raise NoRespondersError

    config = queue_config(queue_name, "nats", broker_url=nats_url)
    await publish(config, 2)
    async with Instance(config, acks=False).opened() as instance:
        await eventually(lambda: len(instance.got) == 2, "both are in flight")
        processor = get_processor(config)
        with monkeypatch.context() as patched:
            patched.setattr(NatsConnection, "request", nobody)
            with pytest.raises(BrokerUnavailableError, match="no leader"):
                await processor.ack(instance.got[0])
        await processor.ack(instance.got[0])
        assert (await jetstream.consumer_info(queue_name, "service")).num_ack_pending == 1
        await jetstream.delete_consumer(queue_name, "service")
        with pytest.raises(DeliveryLostError):
            await processor.ack(instance.got[1])
        await processor.close()


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
    monkeypatch.setattr(polling, "SILENT_AFTER", 3.0)
    monkeypatch.setattr(leases, "KEEP_EVERY", 0.2)
    monkeypatch.setattr(connection, "PROBE_TIMEOUT", 1.0)
    monkeypatch.setattr(health, "PROBE_INTERVAL", 0.05)
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
        assert all(delivery.arrival is Arrival.NEW for delivery in one.got)


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
    assert all(delivery.arrival is Arrival.NEW for delivery in got)


async def test_what_was_anothers_and_comes_after_the_intake_stopped_is_still_known_as_that(
    nats_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=60)
    received, stopped = Pull._on_message, asyncio.Event()

    async def stop_before(self: Pull, message: Msg) -> None:
        if message.reply and not stopped.is_set():  # it is on its way, and so is the word to stop
            await one.consumer.stop_intake()
            stopped.set()
        await received(self, message)

    await publish(config, 1)
    async with Instance(config, acks=False).opened() as other:
        await eventually(lambda: len(other.got) == 1, "another has it in flight")
    one = Instance(config)
    monkeypatch.setattr(Pull, "_on_message", stop_before)
    async with one.opened():
        await stopped.wait()
        await asyncio.sleep(0.3)
        assert not one.got
        await one.consumer.start_intake()
        await eventually(lambda: len(one.got) == 1, "it comes")
        assert one.got[0].arrival is Arrival.ABANDONED


async def test_the_servers_count_tells_what_is_ours_and_what_another_had_since(nats_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=60)
    await publish(config, 2)
    one = Instance(config, acks=False)
    for arrival in (Arrival.NEW, Arrival.OURS, Arrival.OURS):
        one.got.clear()
        async with one.opened():
            await eventually(lambda: len(one.got) == 2, "both come")
            assert {delivery.arrival for delivery in one.got} == {arrival}
    one.got.clear()
    async with Instance(config, acks=False).opened() as other:
        await eventually(lambda: len(other.got) == 2, "both come to another")
    async with one.opened():
        await eventually(lambda: len(one.got) == 2, "both come back")
        assert {delivery.arrival for delivery in one.got} == {Arrival.ABANDONED}


async def test_what_was_on_its_way_when_the_link_broke_killed_nobody(
    nats_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=1, prefetch=2, concurrency=1)
    one = Instance(config)

    async def break_the_link(self: Pull, message: Msg) -> None:
        if message.reply:
            self._leases.connection.lose("broken")

    with monkeypatch.context() as patch:
        patch.setattr(Pull, "_on_message", break_the_link)
        async with one.opened():
            await publish(config, 1)
            await one.consumer.lost()
    async with one.opened():
        await eventually(lambda: len(one.got) == 1, "it comes again")
        assert one.got[0].arrival is Arrival.OURS


async def test_nothing_was_on_its_way_to_a_consumer_that_closed_in_peace(nats_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=60)
    one = Instance(config)
    async with one.opened():
        await asyncio.sleep(0.1)  # it has asked
    await publish(config, 1)
    async with Instance(config, acks=False).opened() as other:
        await eventually(lambda: len(other.got) == 1, "another has it in flight")
    async with one.opened():
        await eventually(lambda: len(one.got) == 1, "it comes")
        assert one.got[0].arrival is Arrival.ABANDONED


async def test_what_a_closed_consumer_had_in_hand_comes_again_at_once(nats_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=60)
    await publish(config, 3)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 3, "all are in flight")
    async with Instance(config).opened() as other:
        await eventually(lambda: len(other.got) == 3, "all came again")
        assert all(delivery.arrival is Arrival.ABANDONED for delivery in other.got)


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
    instance = Instance(queue_config(queue_name, "nats", broker_url=nats_url, prefetch=20))
    async with instance.opened():
        # Found so, it would not be used at all: somebody changes it meanwhile.
        found = (await jetstream.consumer_info(queue_name, "service")).config
        wanted = {"stream_name": queue_name, "config": {**found.as_dict(), "max_batch": 5}}
        client = Client()
        await client.connect(nats_url)
        await client.request(f"$JS.API.CONSUMER.DURABLE.CREATE.{queue_name}.service", json.dumps(wanted).encode())
        await client.close()
        why = await asyncio.wait_for(instance.consumer.lost(), 30)
    assert "refuses to give messages" in why


async def test_a_retry_that_can_not_be_put_into_its_queue_is_tried_again(
    nats_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the reason: else a hundred of them would stop all retries of the queue."""
    fails = True

    async def fail_once(*values: Any, **keys: Any) -> None:
        nonlocal fails
        if fails:
            fails = False
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "no reason")
        await put(*values, **keys)

    attempts = 0

    def behave(_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError("no")

    monkeypatch.setattr(delayed, "put", fail_once)
    monkeypatch.setattr(delayed, "AGAIN_AFTER", 0.1)
    handler = UserHandler(behave)
    async with running((queue_config(queue_name, "nats", broker_url=nats_url), handler)) as service:
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert "can't be tried again now: 'utf-8' codec" in caplog.text
