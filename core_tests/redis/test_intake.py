"""What comes to whom when an intake stops, a consumer is closed, or a link breaks; and what waits for its retry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from app.queue.interfaces import Arrival, Delivery, Place
from app.queue.providers.redis.client import RedisClient
from app.queue.setup import get_publisher
from core_tests.tools.consumer import Instance, ids, publish
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from core_tests.tools.redis_node import RedisNode
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def test_an_intake_that_stops_and_starts_sends_no_message_to_nobody(redis_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1)
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
    redis_url: str, queue_name: str
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1)
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
    assert len(set(ids(got))) == len(got) == sent
    assert all(delivery.arrival is Arrival.NEW for delivery in got)


async def test_what_was_anothers_and_comes_after_the_intake_stopped_is_still_known_as_that(
    redis_url: str, queue_name: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1)
    call = RedisClient.call
    stopped = asyncio.Event()

    async def claim_late(self: RedisClient, *command: Any, **keys: Any) -> Any:
        answer = await call(self, *command, **keys)
        if command[0] == "XAUTOCLAIM" and answer[1]:  # the answer is there, and so is the word to stop
            await one.consumer.stop_intake()
            stopped.set()
        return answer

    await publish(config, 1)
    await client.xreadgroup("service", "the_dead", {queue_name: ">"}, count=1)
    one = Instance(config)
    monkeypatch.setattr(RedisClient, "call", claim_late)
    async with one.opened():
        await stopped.wait()
        await asyncio.sleep(0.1)
        assert not one.got
        await one.consumer.start_intake()
        await eventually(lambda: len(one.got) == 1, "it comes")
        assert one.got[0].arrival is Arrival.ABANDONED


async def test_what_a_closed_consumer_had_in_hand_comes_again_at_once(redis_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=60)
    await publish(config, 3)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 3, "all are in flight")
    async with Instance(config).opened() as other:
        await eventually(lambda: len(other.got) == 3, "all came again")
        assert all(delivery.arrival is Arrival.ABANDONED for delivery in other.got)


async def test_what_was_in_hand_when_a_link_broke_comes_again_to_the_same_instance_and_to_no_other(
    start: Callable[[], RedisNode],
) -> None:
    node = start()
    started: list[int] = []

    async def slow(message: SendAudioMessage) -> None:
        started.append(message.user_id)
        await asyncio.sleep(2)

    one, other = UserHandler(slow), UserHandler(slow)
    config = queue_config("q", "redis", broker_url=node.url, ack_wait=5)
    async with Redis.from_url(node.url) as client, running((config, one)) as service, running((config, other)):
        for number in range(4):
            await service.publisher("q").publish_message("q", audio(number))
        await eventually(lambda: len(started) == 4, "all run")
        await client.client_kill_filter(_type="normal", skipme=True)
        await eventually(lambda: _is(client.xlen("q"), 0), "all are settled")
    assert sorted(started) == [0, 1, 2, 3]


async def test_what_is_in_hand_when_reading_fails_is_not_given_to_others_at_once(
    start: Callable[[], RedisNode],
) -> None:
    node = start()
    root = queue_config("q", "redis", broker_url=node.url, ack_wait=60)
    bob = queue_config("q", "redis", broker_url=f"redis://bob:pw@127.0.0.1:{node.port}", ack_wait=60)
    client: Any = Redis.from_url(node.url)
    async with client:
        await client.execute_command("ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all")
        await publish(root, 1)
        async with Instance(bob, acks=False).opened() as one:
            await eventually(lambda: len(one.got) == 1, "it is in flight, and its handler runs")
            await client.execute_command("ACL", "SETUSER", "bob", "-xreadgroup")
            assert "no permission" in await one.consumer.lost()
            await one.consumer.close()
            async with Instance(root).opened() as other:
                await asyncio.sleep(0.5)
                assert not other.got
            await client.execute_command("ACL", "SETUSER", "bob", "+xreadgroup")
            await one.consumer.open()
            await eventually(lambda: len(one.got) == 2, "it comes to the same one again")
            assert one.got[1].arrival is Arrival.OURS
            await one.processor.ack(one.got[1])


async def test_a_delayed_message_waits_in_the_server_while_no_instance_runs(redis_url: str, queue_name: str) -> None:
    broken = True

    def behave(_: object) -> None:
        if broken:
            raise RuntimeError("no")

    retry: dict[str, Any] = {"max_attempts": 3, "initial_delay": 3, "multiplier": 1}
    config = queue_config(queue_name, "redis", broker_url=redis_url, retry=retry)
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


async def test_many_that_are_due_at_once_are_moved_once_by_many_instances(redis_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, prefetch=1000, retry={"initial_delay": 1})
    await publish(config, 1000)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 1000, "all are in flight")
        await asyncio.gather(*(one.processor.move(delivery, delivery.message, Place.RETRY, 1) for delivery in one.got))
        async with Instance(config).opened() as second, Instance(config).opened() as third:
            again = one.got[:1000]
            await eventually(lambda: len(one.got) - 1000 + len(second.got) + len(third.got) >= 1000, "all came again")
            await asyncio.sleep(0.3)
            came = [*one.got[1000:], *second.got, *third.got]
            assert ids(came) == ids(again)
            assert all(delivery.arrival is Arrival.NEW for delivery in came)


async def _is(asked: Any, value: int) -> bool:
    return bool(await asked == value)
