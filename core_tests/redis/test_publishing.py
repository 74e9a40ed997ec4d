"""What the server confirms, refuses, or does not answer; and moves, which are done once or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from app.queue.errors import (
    BrokerUnavailableError,
    DeliveryLostError,
    PublisherBlockedError,
    PublishError,
    UnroutableError,
)
from app.queue.interfaces import Place, PublisherState
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.scripts import MOVE
from app.queue.setup import get_dead_letters, get_processor, get_publisher
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.proxy import Proxy
from core_tests.tools.redis_node import RedisNode
from core_tests.tools.redis_streams import full
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker

Start = Callable[..., RedisNode]


async def test_publishes_at_the_same_time_share_one_connection(start: Start) -> None:
    node = start()
    publisher = get_publisher(queue_config("q", "redis", broker_url=node.url))
    async with Redis.from_url(node.url) as client:
        await publisher.publish_message("q", audio())
        before = (await client.info("stats"))["total_connections_received"]
        await asyncio.gather(*(publisher.publish_message("q", audio(number)) for number in range(2000)))
        assert (await client.info("stats"))["total_connections_received"] == before
        assert await client.xlen("q") == 2001
    await publisher.close()


@pytest.mark.parametrize("how", ["timeout", "cut"])
async def test_a_publish_whose_answer_does_not_come_may_have_landed(start: Start, how: str) -> None:
    node = start()
    proxy = Proxy(node.port)
    timeout = 1 if how == "timeout" else 30
    publisher = get_publisher(queue_config("q", "redis", broker_url=f"127.0.0.1:{proxy.port}", publish_timeout=timeout))
    try:
        async with Redis.from_url(node.url) as client:
            await publisher.open()
            proxy.mode("mute")
            publishing = asyncio.create_task(publisher.publish_message("q", audio()))
            await eventually(lambda: _is(client.xlen("q"), 1), "it has landed")
            if how == "cut":
                proxy.drop()
            with pytest.raises(PublishError) as caught:
                await publishing
            assert caught.value.may_have_landed
            proxy.mode("pass")
            assert await client.xlen("q") == 1, "what may have landed is never sent again by us"
    finally:
        await publisher.close()
        proxy.close()


async def test_a_server_without_memory_blocks_publishers_and_nothing_else(start: Start) -> None:
    node = start()
    config = queue_config("q", "redis", broker_url=node.url, prefetch=1, concurrency=1)
    publisher, processor, reader = get_publisher(config), get_processor(config), get_dead_letters(config, Place.QUEUE)
    states: list[PublisherState] = []
    try:
        async with running((config, UserHandler())):
            pass  # its places are there
        for number in range(3):
            await publisher.publish_message("q", audio(number))
        delivery = await reader.receive()
        assert delivery is not None
        with full(node.url):
            with pytest.raises(PublisherBlockedError, match="'maxmemory'; nothing was stored") as caught:
                await publisher.publish_message("q", audio())
            assert not caught.value.may_have_landed
            states.append(publisher.state)
            for place in (Place.DLQ, Place.RETRY):
                with pytest.raises(PublisherBlockedError):
                    await processor.move(delivery, delivery.message, place, 0.1)
            handler = UserHandler()
            async with running((queue_config("q", "redis", broker_url=node.url, enable_publisher=False), handler)):
                await eventually(
                    lambda: len(handler.handled) == 2, "what is there is handled: a consumer can open, and ack"
                )
        await publisher.publish_message("q", audio())
        states.append(publisher.state)
        await processor.move(delivery, delivery.message, Place.DLQ)
        assert await reader.depth() == 1
        assert states == ["blocked", "ready"]
    finally:
        for part in (publisher, processor, reader):
            await part.close()


async def test_a_server_that_misses_its_replicas_is_blocked_too(start: Start) -> None:
    node = start()
    publisher = get_publisher(queue_config("q", "redis", broker_url=node.url))
    try:
        await publisher.open()
        async with Redis.from_url(node.url) as client:
            await client.config_set("min-replicas-to-write", 1)
            with pytest.raises(PublisherBlockedError, match="takes no messages"):
                await publisher.publish_message("q", audio())
            state: PublisherState = publisher.state
            assert state == "blocked"
            await client.config_set("min-replicas-to-write", 0)
            await publisher.publish_message("q", audio())
            assert publisher.state == "ready"
    finally:
        await publisher.close()


async def test_held_messages_are_handed_over_when_there_is_room_again(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    node = start()
    going = asyncio.Event()

    async def fail(_: object) -> None:
        await going.wait()
        raise RuntimeError("no")

    config = queue_config("q", "redis", broker_url=node.url, retry={"max_attempts": 1}, pause={"after": 0})
    handler = UserHandler(fail)
    async with Redis.from_url(node.url) as client, running((config, handler)) as service:
        for number in range(5):
            await service.publisher("q").publish_message("q", audio(number))
        await eventually(lambda: len(handler.attempts) == 5, "all run")
        with full(node.url):
            going.set()
            await eventually(lambda: caplog.text.count("is held: ") == 5, "all are held")
            assert await client.xlen("q") == 5
        await eventually(lambda: _is(client.xlen("dlq_q"), 5), "all are in the DLQ")
        assert await client.xlen("q") == 0
        assert len(handler.attempts) == 5


async def test_a_hand_over_whose_answer_was_lost_is_not_done_again(
    redis_url: str, queue_name: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    publisher, processor, reader = get_publisher(config), get_processor(config), get_dead_letters(config, Place.QUEUE)
    run = RedisClient.run

    async def lost(self: RedisClient, script: Any, *arguments: Any, **keys: Any) -> Any:
        answer = await run(self, script, *arguments, **keys)
        if script is MOVE:
            raise BrokerUnavailableError("the answer was lost")
        return answer

    try:
        for place in (Place.DLQ, Place.RETRY, Place.QUEUE):
            await publisher.publish_message(queue_name, audio(), message_id="one")
            delivery = await reader.receive()
            assert delivery is not None
            with monkeypatch.context() as patched:
                patched.setattr(RedisClient, "run", lost)
                with pytest.raises(BrokerUnavailableError):
                    await processor.move(delivery, delivery.message, place, 60.0)
            with pytest.raises(DeliveryLostError):
                await processor.move(delivery, delivery.message, place, 60.0)
            with pytest.raises(DeliveryLostError):
                await processor.ack(delivery)
        assert await client.xlen(f"dlq_{queue_name}") == 1
        assert await client.zcard(f"retry_{queue_name}_delayed") == 1
        assert await client.xlen(queue_name) == 1
    finally:
        for part in (publisher, processor, reader):
            await part.close()


async def test_a_hand_over_that_is_refused_leaves_the_message_where_it_is(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    publisher, processor, reader = get_publisher(config), get_processor(config), get_dead_letters(config, Place.QUEUE)
    try:
        await publisher.publish_message(queue_name, audio())
        delivery = await reader.receive()
        assert delivery is not None
        for place, name in ((Place.DLQ, f"dlq_{queue_name}"), (Place.RETRY, f"retry_{queue_name}_delayed")):
            await client.delete(name)
            await client.set(name, "mine")
            with pytest.raises(PublishError, match="is of another type"):
                await processor.move(delivery, delivery.message, place, 0.1)
        assert await reader.depth() == 1
        await processor.ack(delivery)
        assert await reader.depth() == 0
    finally:
        for part in (publisher, processor, reader):
            await part.close()


async def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(start: Start) -> None:
    node = start()
    handler = UserHandler()
    async with (
        Redis.from_url(node.url) as client,
        running((queue_config("q", "redis", broker_url=node.url), handler)) as service,
    ):
        for number in range(3):
            await client.script_flush()
            await service.publisher("q").publish_message("q", audio(number))
        await eventually(lambda: len(handler.handled) == 3, "all are handled")
        await eventually(lambda: _is(client.xlen("q"), 0), "and acked")


async def test_what_can_not_be_sent_leaves_the_answers_of_others_in_order(redis_url: str, queue_name: str) -> None:
    publisher = get_publisher(queue_config(queue_name, "redis", broker_url=redis_url))
    try:
        await publisher.publish_message(queue_name, audio())
        with pytest.raises(UnicodeEncodeError):
            await publisher.publish_message("no name \udc80", audio())
        with pytest.raises(UnroutableError):
            await publisher.publish_message(f"{queue_name}_nowhere", audio())
        await publisher.publish_message(queue_name, audio())
    finally:
        await publisher.close()


async def test_a_large_message_goes_all_the_way(redis_url: str, queue_name: str, client: Any) -> None:
    attempts = 0

    def behave(_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 3:
            raise RuntimeError("no")

    handler = UserHandler(behave)
    config = queue_config(
        queue_name, "redis", broker_url=redis_url, max_message_bytes=20_000_000, dlq={"retry_interval": 0.5}
    )
    async with running((config, handler)) as service:
        headers = {"large": "y" * 60_000}
        body = audio(content="x" * 10_000_000)
        await service.publisher(queue_name).publish_message(queue_name, body, headers=headers)
        await eventually(lambda: len(handler.handled) == 1, "after two retries and the DLQ it is handled")
        assert len(handler.handled[0].content) == 10_000_000


async def _is(asked: Any, value: int) -> bool:
    return bool(await asked == value)
