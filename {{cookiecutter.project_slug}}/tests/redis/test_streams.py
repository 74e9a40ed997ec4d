"""Streams and groups that are made, are there already, or were deleted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from app.queue.config import QueueConfig
from app.queue.errors import BrokerRefusedError, PublishError, UnroutableError
from app.queue.interfaces import Place
from app.queue.processor import MessageProcessor
from app.queue.providers.redis import streams
from app.queue.setup import get_consumer, get_dead_letters, get_publisher
from tests.tools.example import UserHandler, audio, queue_config, running
from tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def _ignore(_: object) -> None:
    """Take a delivery, and do nothing."""


async def open_and_close(config: QueueConfig) -> None:
    consumer = get_consumer(config, MessageProcessor())
    consumer.on_delivery = _ignore
    try:
        await consumer.open()
    finally:
        await consumer.close()


async def test_consuming_makes_a_stream_with_a_group_for_every_place(
    redis_url: str, queue_name: str, client: Any
) -> None:
    await open_and_close(queue_config(queue_name, "redis", broker_url=redis_url))
    made = {queue_name, f"retry_{queue_name}_crashed", f"dlq_{queue_name}", f"parked_{queue_name}"}
    assert {key async for key in client.scan_iter(f"*{queue_name}*")} == made
    for key in made:
        assert [group["name"] for group in await client.xinfo_groups(key)] == ["service"]


async def test_without_a_dlq_none_is_made(redis_url: str, queue_name: str, client: Any) -> None:
    await open_and_close(queue_config(queue_name, "redis", broker_url=redis_url, enable_dlq=False))
    made = {key async for key in client.scan_iter(f"*{queue_name}*")}
    assert made == {queue_name, f"retry_{queue_name}_crashed"}


async def test_what_is_done_is_deleted_and_nothing_else_is(redis_url: str, queue_name: str, client: Any) -> None:
    def behave(message: Any) -> None:
        if message.user_id % 3 == 0:
            raise RuntimeError("no")

    handler = UserHandler(behave)
    keys: dict[str, Any] = {"retry": {"max_attempts": 1}, "pause": {"after": 0}}
    async with running((queue_config(queue_name, "redis", broker_url=redis_url, **keys), handler)) as service:
        publisher = service.publisher(queue_name)
        await asyncio.gather(*(publisher.publish_message(queue_name, audio(number)) for number in range(300)))
        await eventually(lambda: len(handler.handled) == 200, "what can be handled is")

        async def done() -> bool:
            return [await client.xlen(key) for key in (queue_name, f"dlq_{queue_name}")] == [0, 100]

        await eventually(done, "the rest is in the DLQ, and nothing in the queue")
    assert (await client.xpending(queue_name, "service"))["pending"] == 0


@pytest.mark.parametrize("place", [Place.QUEUE, Place.DLQ])
async def test_a_key_of_another_type_is_refused_in_words(
    redis_url: str, queue_name: str, client: Any, place: Place
) -> None:
    await client.set(streams.key(queue_name, place), "mine")
    with pytest.raises(
        BrokerRefusedError, match=r"the key exists, and is of another type .* or use another queue name"
    ):
        await open_and_close(queue_config(queue_name, "redis", broker_url=redis_url))
    assert await client.get(streams.key(queue_name, place)) == "mine"


async def test_a_publish_to_a_key_of_another_type_is_an_error(redis_url: str, queue_name: str, client: Any) -> None:
    publisher = get_publisher(queue_config(queue_name, "redis", broker_url=redis_url))
    try:
        await client.set(f"{queue_name}_other", "mine")
        with pytest.raises(PublishError, match=r"is of another type .* nothing was stored"):
            await publisher.publish_message(f"{queue_name}_other", audio())
    finally:
        await publisher.close()


async def test_a_queue_that_is_nobodys_is_unroutable_and_not_made(redis_url: str, queue_name: str, client: Any) -> None:
    publisher = get_publisher(queue_config(queue_name, "redis", broker_url=redis_url))
    try:
        with pytest.raises(UnroutableError, match="no stream"):
            await publisher.publish_message(f"{queue_name}_other", audio())
        assert not await client.exists(f"{queue_name}_other")
    finally:
        await publisher.close()


async def test_a_stream_that_others_have_filled_is_consumed_from_its_beginning(
    redis_url: str, queue_name: str, client: Any
) -> None:
    for number in range(3):
        await client.xadd(queue_name, {"body": f'{{"type": "send_audio", "user_id": {number}, "content": ""}}'})
    handler = UserHandler()
    async with running((queue_config(queue_name, "redis", broker_url=redis_url), handler)):
        await eventually(lambda: len(handler.handled) == 3, "all are handled")


@pytest.mark.parametrize("what", ["stream", "group", "all"])
async def test_what_is_deleted_under_a_consumer_is_made_again_within_5_seconds(
    redis_url: str, queue_name: str, client: Any, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    handler = UserHandler()
    async with running((queue_config(queue_name, "redis", broker_url=redis_url), handler)) as service:
        publisher = service.publisher(queue_name)
        for number in range(3):
            if what == "group":
                await client.xgroup_destroy(queue_name, "service")
            elif what == "stream":
                await client.delete(queue_name)
            else:
                await client.delete(*[key async for key in client.scan_iter(f"*{queue_name}*")])
            deleted_at = time.monotonic()
            await publisher.publish_message(queue_name, audio(number))
            await eventually(lambda: {message.user_id for message in handler.handled} >= {number}, "it is handled")  # noqa: B023
            assert time.monotonic() - deleted_at < 5
    assert "is not there any more" in caplog.text


async def test_a_deleted_place_is_made_again_when_something_goes_there_and_is_read(
    redis_url: str, queue_name: str, client: Any
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    config = queue_config(queue_name, "redis", broker_url=redis_url, retry={"max_attempts": 1})
    reader = get_dead_letters(config)
    async with running((config, UserHandler(fail))) as service:
        assert await reader.take() is None
        await client.delete(f"dlq_{queue_name}")
        await service.publisher(queue_name).publish_message(queue_name, audio(), message_id="one")

        async def dead() -> bool:
            return bool(await reader.depth() == 1)

        await eventually(dead, "there is a DLQ again")
        taken = []

        async def taken_again() -> bool:
            try:
                taken.append(await reader.take())
            except Exception:  # noqa: BLE001 - it has no group yet
                return False
            return True

        await eventually(taken_again, "it can be read")
        assert taken[0] is not None
        assert taken[0].message.message_id == "one"
    await reader.close()


async def test_names_of_consumers_do_not_pile_up_and_none_that_has_something_in_hand_is_forgotten(
    redis_url: str, queue_name: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    for _ in range(3):
        consumer = get_consumer(config, MessageProcessor())
        consumer.on_delivery = _ignore
        await consumer.open()

        async def known() -> bool:
            return len(await client.xinfo_consumers(queue_name, "service")) == 1

        await eventually(known, "it is the only one in its group")
        await consumer.close()
    assert await client.xinfo_consumers(queue_name, "service") == []
    await client.xadd(queue_name, {"body": "{}"})
    await client.xreadgroup("service", "died_with_something", {queue_name: ">"}, count=1)
    await client.xgroup_createconsumer(queue_name, "service", "died_with_nothing")
    await open_and_close(config)
    names = {consumer["name"] for consumer in await client.xinfo_consumers(queue_name, "service")}
    assert names == {"died_with_something", "died_with_nothing"}
    monkeypatch.setattr(streams, "DEAD_AFTER", 0.2)
    await asyncio.sleep(0.3)
    await open_and_close(config)
    assert [consumer["name"] for consumer in await client.xinfo_consumers(queue_name, "service")] == [
        "died_with_something"
    ]
    assert (await client.xpending(queue_name, "service"))["pending"] == 1
