"""What is in hand, and what is not: competing instances, long handlers, dead consumers, and an intake that stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from app.queue import group
from app.queue.config import QueueConfig
from app.queue.errors import DeliveryLostError
from app.queue.interfaces import Delivery, Place, QueueConsumer, QueueProcessor
from app.queue.processor import MessageProcessor
from app.queue.providers.redis import connection, hand
from app.queue.providers.redis.client import RedisClient
from app.queue.setup import get_consumer, get_dead_letters, get_processor, get_publisher
from tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from tests.tools.redis_node import RedisNode
from tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


class Instance:
    """A consumer that acks what it gets, or keeps it."""

    def __init__(self, config: QueueConfig, *, acks: bool = True) -> None:
        self.got: list[Delivery] = []
        self.consumer: QueueConsumer = get_consumer(config, MessageProcessor())
        self.consumer.on_delivery = self._take
        self.processor: QueueProcessor = get_processor(config)
        self._acks = acks

    async def _take(self, delivery: Delivery) -> None:
        self.got.append(delivery)
        if self._acks:
            await self.processor.ack(delivery)

    async def settle(self) -> None:
        """Ack what was kept."""
        await asyncio.gather(*(self.processor.ack(delivery) for delivery in list(self.got)))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Instance]:
        await self.consumer.open()
        try:
            yield self
        finally:
            await self.consumer.close()
            await self.processor.close()


async def publish(config: QueueConfig, count: int) -> None:
    publisher = get_publisher(config)
    await asyncio.gather(*(publisher.publish_message(config.name, audio(number)) for number in range(count)))
    await publisher.close()


def ids(deliveries: list[Delivery]) -> list[str]:
    return sorted(delivery.message.message_id for delivery in deliveries)


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
    delivery = await one.take()
    assert delivery is not None
    deadline = time.monotonic() + 2.5
    while time.monotonic() < deadline:
        assert await other.take() is None
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
        assert not any(delivery.redelivered for delivery in (*one.got, *other.got))
        await eventually(lambda: len(one.got) + len(other.got) > 5, "something is claimed")
        assert time.monotonic() - died_at > 1.9
        await eventually(lambda: len(one.got) + len(other.got) == 30, "all are claimed")
        got = [*one.got, *other.got]
        assert len(set(ids(got))) == 30
        assert sum(delivery.redelivered for delivery in got) == 25
        await eventually(lambda: _is(pending(client, queue_name), 0), "all are settled")


async def test_a_claim_finds_what_is_behind_many_that_are_in_living_hands(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1, prefetch=200)
    few = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=1, prefetch=1, concurrency=1)
    await publish(config, 200)
    async with Instance(config, acks=False).opened() as holding:
        await eventually(lambda: len(holding.got) == 200, "all are in hand")
        await client.xadd(queue_name, {"body": "{}", "message_id": "left"})
        await client.xreadgroup("service", "the_dead", {queue_name: ">"}, count=1)
        async with Instance(few).opened() as other:
            await eventually(lambda: len(other.got) > 0, "it is claimed")
            assert ids(other.got) == ["left"]
        reader = get_dead_letters(config, Place.QUEUE)
        assert await reader.take() is None
        await reader.close()


async def test_what_went_to_another_instance_can_not_be_settled(
    redis_url: str, queue_name: str, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=2)
    await publish(config, 4)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 4, "all are in hand")
        first, second, third, last = one.got
        entries = [delivery.token.entry for delivery in (first, second)]
        await client.xclaim(queue_name, "service", "another", 0, entries)
        with pytest.raises(DeliveryLostError):
            await one.processor.ack(first)
        with pytest.raises(DeliveryLostError):
            await one.processor.hand_over(second, second.message, Place.DLQ)
        assert await client.xlen(f"dlq_{queue_name}") == 0
        assert await client.xlen(queue_name) == 4
        await client.xclaim(queue_name, "service", "another", 0, [third.token.entry])
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
        await eventually(lambda: len(one.got) == 50, "all are in hand")
        taken = one.got[::7]
        await client.xclaim(queue_name, "service", "another", 0, [delivery.token.entry for delivery in taken])
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
        await eventually(lambda: len(one.got) == 1000, "all are in hand")
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


async def test_what_looks_left_and_is_in_hand_is_not_delivered_again(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=2)
    await publish(config, 3)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 3, "all are in hand")
        entries = [delivery.token.entry for delivery in one.got]
        deadline = time.monotonic() + 3  # several times the claims' interval
        while time.monotonic() < deadline:
            await client.xclaim(queue_name, "service", one.got[0].token.hand.name, 0, entries, idle=9999, justid=True)
            await asyncio.sleep(0.02)
        assert len(one.got) == 3
        await one.settle()


async def test_a_handler_that_blocks_the_loop_is_not_taken_for_a_server_that_is_silent(
    redis_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "PROBE_TIMEOUT", 1.0)
    monkeypatch.setattr(hand, "KEEP_EVERY", 0.2)
    monkeypatch.setattr(group, "PROBE_INTERVAL", 0.05)
    handler = UserHandler(lambda _: time.sleep(3))
    config = queue_config(queue_name, "redis", broker_url=redis_url, heartbeat=1)
    async with running((config, handler)) as service:
        for number in range(3):
            await service.publisher(queue_name).publish_message(queue_name, audio(number))
        await eventually(lambda: len(handler.handled) == 3, "all are handled")
        await asyncio.sleep(1)
    assert "connecting again" not in caplog.text
    assert len(handler.attempts) == 3


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
        assert not any(delivery.redelivered for delivery in one.got)


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
    assert not any(delivery.redelivered for delivery in got)


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
        assert one.got[0].redelivered


async def test_what_a_closed_consumer_had_in_hand_comes_again_at_once(redis_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=60)
    await publish(config, 3)
    async with Instance(config, acks=False).opened() as one:
        await eventually(lambda: len(one.got) == 3, "all are in hand")
    async with Instance(config).opened() as other:
        await eventually(lambda: len(other.got) == 3, "all came again")
        assert all(delivery.redelivered for delivery in other.got)


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
            await eventually(lambda: len(one.got) == 1, "it is in hand, and its handler runs")
            await client.execute_command("ACL", "SETUSER", "bob", "-xreadgroup")
            assert "no permission" in await one.consumer.lost()
            await one.consumer.close()
            async with Instance(root).opened() as other:
                await asyncio.sleep(0.5)
                assert not other.got
            await client.execute_command("ACL", "SETUSER", "bob", "+xreadgroup")
            await one.consumer.open()
            await eventually(lambda: len(one.got) == 2, "it comes to the same one again")
            assert one.got[1].redelivered
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
        await eventually(lambda: len(one.got) == 1000, "all are in hand")
        await asyncio.gather(
            *(one.processor.hand_over(delivery, delivery.message, Place.RETRY, 1) for delivery in one.got)
        )
        async with Instance(config).opened() as second, Instance(config).opened() as third:
            again = one.got[:1000]
            await eventually(lambda: len(one.got) - 1000 + len(second.got) + len(third.got) >= 1000, "all came again")
            await asyncio.sleep(0.3)
            came = [*one.got[1000:], *second.got, *third.got]
            assert ids(came) == ids(again)
            assert not any(delivery.redelivered for delivery in came)


async def scripts_run(client: Any) -> int:
    """How many scripts the server has run."""
    return int((await client.info("commandstats")).get("cmdstat_evalsha", {}).get("calls", 0))


async def _is(asked: Any, value: int) -> bool:
    return bool(await asked == value)
