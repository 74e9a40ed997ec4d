"""Who has a message: competing instances, long handlers, dead consumers, and acks of what is ours and what is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from app.queue.broker import connection, leases
from app.queue.errors import DeliveryLostError
from app.queue.interfaces import Arrival, Place
from app.queue.run import health
from app.queue.setup import get_dead_letters, get_processor
from core_tests.tools.consumer import Instance, ids, publish
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from core_tests.tools.redis_node import RedisNode
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def pending(client: Any, queue: str) -> int:
    return int((await client.xpending(queue, "service"))["pending"])


async def test_what_is_in_hand_is_bounded_for_each_instance_by_its_own_prefetch(
    redis_url: str, queue_name: str, client: Any
) -> None:
    few = queue_config(queue_name, "redis", broker_url=redis_url, prefetch=3, concurrency=1)
    more = queue_config(queue_name, "redis", broker_url=redis_url, prefetch=11, concurrency=1)
    await publish(few, 50)
    async with Instance(few, acks=False).opened() as one, Instance(more, acks=False).opened() as other:
        await eventually(lambda: (len(one.got), len(other.got)) == (3, 11), "both have what they may have")
        await asyncio.sleep(1.5)  # longer than a read takes
        assert (len(one.got), len(other.got)) == (3, 11)
        assert await pending(client, queue_name) == 14
        await one.settle()
        await eventually(lambda: len(one.got) == 6, "as many again")
        messages = [delivery.message.body for delivery in (*one.got, *other.got)]
        assert len(set(messages)) == len(messages) == 17


async def test_a_handler_that_takes_longer_than_ack_wait_keeps_its_message(redis_url: str, queue_name: str) -> None:
    async def slow(_: SendAudioMessage) -> None:
        await asyncio.sleep(3.5)

    one, other = UserHandler(slow), UserHandler(slow)
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1)
    async with running((config, one)) as service, running((config, other)):
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: bool(one.handled or other.handled), "it is handled")
        await asyncio.sleep(1.5)
        assert len(one.attempts) + len(other.attempts) == 1


async def test_a_reader_keeps_what_it_has_in_hand_for_longer_than_ack_wait(redis_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1)
    await publish(config, 1)
    one, other = get_dead_letters(config, Place.QUEUE), get_dead_letters(config, Place.QUEUE)
    processor = get_processor(config)
    delivery = await one.receive()
    assert delivery is not None
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert await other.receive() is None
        await asyncio.sleep(0.1)
    await processor.ack(delivery)
    for part in (one, other, processor):
        await part.close()


async def test_what_a_dead_consumer_had_in_hand_is_claimed_after_ack_wait_and_not_before(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=2)
    await publish(config, 30)
    died_at = time.monotonic()
    await client.xreadgroup("service", "the_dead", {queue_name: ">"}, count=25)
    async with Instance(config).opened() as one, Instance(config).opened() as other:
        await eventually(lambda: len(one.got) + len(other.got) == 5, "the rest comes at once")
        assert all(delivery.arrival is Arrival.NEW for delivery in (*one.got, *other.got))
        await eventually(lambda: len(one.got) + len(other.got) > 5, "something is claimed")
        assert time.monotonic() - died_at > 1.9
        await eventually(lambda: len(one.got) + len(other.got) == 30, "all are claimed")
        got = [*one.got, *other.got]
        assert len(set(ids(got))) == 30
        assert sum(delivery.arrival is Arrival.ABANDONED for delivery in got) == 25
        await eventually(lambda: _is(pending(client, queue_name), 0), "all are settled")


async def test_a_claim_finds_what_is_behind_many_that_are_in_living_hands(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1, prefetch=200)
    few = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1, prefetch=1, concurrency=1)
    await publish(config, 200)
    async with Instance(config, acks=False).opened() as holding:
        await eventually(lambda: len(holding.got) == 200, "all are in flight")
        await client.xadd(queue_name, {"body": "{}", "message_id": "left"})
        await client.xreadgroup("service", "the_dead", {queue_name: ">"}, count=1)
        async with Instance(few).opened() as other:
            await eventually(lambda: len(other.got) > 0, "it is claimed")
            assert ids(other.got) == ["left"]
        reader = get_dead_letters(config, Place.QUEUE)
        assert await reader.receive() is None
        await reader.close()


async def test_what_went_to_another_instance_can_not_be_settled(
    redis_url: str, queue_name: str, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=2)
    await publish(config, 4)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 4, "all are in flight")
        first, second, third, last = one.got
        entries = [delivery.token.key for delivery in (first, second)]
        await client.xclaim(queue_name, "service", "another", 0, entries)
        with pytest.raises(DeliveryLostError):
            await one.processor.ack(first)
        with pytest.raises(DeliveryLostError):
            await one.processor.move(second, second.message, Place.DLQ)
        assert await client.xlen(f"dlq_{queue_name}") == 0
        assert await client.xlen(queue_name) == 4
        await client.xclaim(queue_name, "service", "another", 0, [third.token.key])
        await eventually(lambda: "has gone to another instance" in caplog.text, "it is noticed, and said")
        with pytest.raises(DeliveryLostError):
            await one.processor.ack(third)
        await one.processor.ack(last)
        names = {entry["consumer"] for entry in await client.xpending_range(queue_name, "service", "-", "+", 10)}
        assert names == {"another"}


async def test_acks_of_what_is_ours_and_what_is_not_are_told_apart_in_one_round(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, prefetch=100)
    await publish(config, 50)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 50, "all are in flight")
        taken = one.got[::7]
        await client.xclaim(queue_name, "service", "another", 0, [delivery.token.key for delivery in taken])
        acking = (one.processor.ack(delivery) for delivery in one.got)
        results = await asyncio.gather(*acking, return_exceptions=True)
        lost = [isinstance(result, DeliveryLostError) for result in results]
        assert lost == [delivery in taken for delivery in one.got]
        assert await client.xlen(queue_name) == len(taken)


async def test_many_acks_at_once_take_few_scripts(start: Callable[[], RedisNode]) -> None:
    config = queue_config("q", "redis", broker_url=start().url, prefetch=1000)
    await publish(config, 1000)
    async with (
        Redis.from_url(config.model_dump()["broker_url"]) as client,
        Instance(config, acks=False).opened() as one,
    ):
        await eventually(lambda: len(one.got) == 1000, "all are in flight")
        before = await scripts_run(client)
        await one.settle()
        assert await scripts_run(client) - before < 50
        assert await client.xlen("q") == 0


async def test_a_message_that_comes_again_while_it_is_in_hand_is_run_once(redis_url: str, queue_name: str) -> None:
    async def block_or_wait(message: SendAudioMessage) -> None:
        if message.user_id == 0:
            time.sleep(2.5)  # noqa: ASYNC251 - blocks the loop, so that nothing can say that we are at it
        await asyncio.sleep(3)

    handler = UserHandler(block_or_wait)
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1, prefetch=20)
    await publish(config, 5)
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 5, "all are handled")
        await asyncio.sleep(1.5)
        assert len(handler.attempts) == 5


async def test_what_looks_left_and_is_in_flight_is_not_delivered_again(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=2)
    await publish(config, 3)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 3, "all are in flight")
        entries = [delivery.token.key for delivery in one.got]
        deadline = time.monotonic() + 3  # several times the claims' interval
        while time.monotonic() < deadline:
            await client.xclaim(queue_name, "service", one.got[0].token.leases.name, 0, entries, idle=9999, justid=True)
            await asyncio.sleep(0.02)
        assert len(one.got) == 3
        await one.settle()


async def test_a_handler_that_blocks_the_loop_is_not_taken_for_a_server_that_is_silent(
    redis_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "PROBE_TIMEOUT", 1.0)
    monkeypatch.setattr(leases, "KEEP_EVERY", 0.2)
    monkeypatch.setattr(health, "PROBE_INTERVAL", 0.05)
    handler = UserHandler(lambda _: time.sleep(3))
    config = queue_config(queue_name, "redis", broker_url=redis_url, heartbeat=1)
    async with running((config, handler)) as service:
        for number in range(3):
            await service.publisher(queue_name).publish_message(queue_name, audio(number))
        await eventually(lambda: len(handler.handled) == 3, "all are handled")
        await asyncio.sleep(1)
    assert "connecting again" not in caplog.text
    assert len(handler.attempts) == 3


async def scripts_run(client: Any) -> int:
    """How many scripts the server has run."""
    return int((await client.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0))


async def _is(asked: Any, value: int) -> bool:
    return bool(await asked == value)
