"""Streams and groups that are made, are there already, or were deleted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from app.queue.errors import BrokerRefusedError, PublishError, UnroutableError
from app.queue.interfaces import DeadLetterQueueHandler, Delivery, Place
from app.queue.messages.message import undivided_name
from app.queue.processor import MessageProcessor
from app.queue.providers.redis import delayed, streams
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.scripts import MOVE_DUE
from app.queue.setup import get_consumer, get_dead_letters, get_publisher
from core_tests.tools.consumer import ignore, open_and_close
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


def msgpack(value: Any) -> bytes:
    """As Redis packs it, as far as these tests go."""
    if isinstance(value, int):
        return bytes([value])
    if isinstance(value, str):
        return b"\xda" + len(value).to_bytes(2) + value.encode()
    return b"\xdc" + len(value).to_bytes(2) + b"".join(map(msgpack, value))


async def test_consuming_makes_a_stream_with_a_group_for_every_place(
    redis_url: str, queue_name: str, client: Any
) -> None:
    await open_and_close(queue_config(queue_name, "redis", broker_url=redis_url))
    made = {queue_name, f"quarantine_{queue_name}", f"dlq_{queue_name}", f"parked_{queue_name}"}
    assert {key async for key in client.scan_iter(f"*{queue_name}*")} == made
    for key in made:
        assert [group["name"] for group in await client.xinfo_groups(key)] == ["service"]


async def test_without_a_dlq_none_is_made(redis_url: str, queue_name: str, client: Any) -> None:
    await open_and_close(queue_config(queue_name, "redis", broker_url=redis_url, enable_dlq=False))
    made = {key async for key in client.scan_iter(f"*{queue_name}*")}
    assert made == {queue_name, f"quarantine_{queue_name}"}


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


@pytest.mark.parametrize("place", [Place.QUEUE, Place.DLQ, Place.QUARANTINE, Place.PARKED, Place.RETRY])
async def test_a_key_of_another_type_is_refused_in_words(
    redis_url: str, queue_name: str, client: Any, place: Place
) -> None:
    name = undivided_name(queue_name, place)
    await client.set(name, "mine")
    said = f"key '{name}': the key exists, and is of another type .* or use another queue name"
    with pytest.raises(BrokerRefusedError, match=said):
        await open_and_close(queue_config(queue_name, "redis", broker_url=redis_url))
    assert await client.get(name) == "mine"


@pytest.mark.parametrize("place", [Place.QUEUE, Place.DLQ, Place.RETRY])
async def test_a_key_that_expires_is_refused_in_words(
    redis_url: str, queue_name: str, client: Any, place: Place
) -> None:
    config, key = queue_config(queue_name, "redis", broker_url=redis_url), undivided_name(queue_name, place)
    if place is Place.RETRY:
        await client.zadd(key, {"{}": 2e12})
    else:
        await client.xadd(key, {"body": "{}"})
    await client.expire(key, 600)
    with pytest.raises(BrokerRefusedError, match=rf"key '{key}' exists, .*milliseconds to live \d+ \(then it goes"):
        await open_and_close(config)
    await client.persist(key)
    await open_and_close(config)


async def test_a_group_that_begins_at_the_end_hides_what_was_there_and_is_refused_in_words(
    redis_url: str, queue_name: str, client: Any
) -> None:
    """As others make a group: `XGROUP CREATE queue service $`."""
    entry = await client.xadd(queue_name, {"body": '{"type": "send_audio", "user_id": 1, "content": ""}'})
    await client.xgroup_create(queue_name, "service", "$")
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    with pytest.raises(BrokerRefusedError, match=f"entry passed over {entry} .group 'service' is behind it"):
        await open_and_close(config)
    publisher = get_publisher(config)
    with pytest.raises(PublishError, match="entry passed over"):
        await publisher.publish_message(queue_name, audio())
    await publisher.close()
    await client.xgroup_setid(queue_name, "service", "0")  # as it says
    handler = UserHandler()
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 1, "what was there is handled")


async def test_what_was_passed_over_is_found_behind_what_is_in_flight(
    redis_url: str, queue_name: str, client: Any
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    entries = [await client.xadd(queue_name, {"body": "{}"}) for _ in range(5)]
    await client.xgroup_create(queue_name, "service", "0")
    for consumer in ("one", "two", "one"):
        await client.xreadgroup("service", consumer, {queue_name: ">"}, count=1)
    await open_and_close(config)  # three are in flight, and two are still to come
    await client.xgroup_delconsumer(queue_name, "service", "two")
    with pytest.raises(BrokerRefusedError, match=f"entry passed over {entries[1]} .*with all instances stopped"):
        await open_and_close(config)


@pytest.mark.parametrize("right", ["xack", "xdel"])
async def test_a_user_who_may_move_but_not_settle_is_refused_at_once(
    redis_url: str, queue_name: str, client: Any, right: str
) -> None:
    """Or each try of a move would leave a copy."""
    user = f"user_{queue_name}"
    await client.execute_command("ACL", "SETUSER", user, "on", ">pw", "~*", "+@all", f"-{right}")
    try:
        config = queue_config(queue_name, "redis", broker_url=redis_url, username=user, password="pw")
        with pytest.raises(BrokerRefusedError, match="no permission"):
            await open_and_close(config)
    finally:
        await client.execute_command("ACL", "DELUSER", user)


@pytest.mark.parametrize(
    "odd",
    [b"x", msgpack(["q", "1", ["body"]]), msgpack(["q", "1", ["body", 5]]), msgpack(["q", "1", ["body", "{}"] * 4000])],
    ids=["no msgpack", "half a field", "a number", "too many"],
)
async def test_an_odd_member_of_the_delayed_becomes_a_body_and_holds_up_nothing(
    redis_url: str, queue_name: str, client: Any, odd: bytes
) -> None:
    good = msgpack(["q", "1", ["body", "good"]])
    await client.zadd(f"retry_{queue_name}_delayed", {odd: 1, good: 2})
    reader = get_dead_letters(queue_config(queue_name, "redis", broker_url=redis_url))
    async with running((queue_config(queue_name, "redis", broker_url=redis_url), UserHandler())):
        bodies = [(await arrived(reader)).message.body for _ in range(2)]
    await reader.close()
    assert set(bodies) == {odd, b"good"}


async def test_large_retries_are_moved_a_few_at_a_time(
    redis_url: str, queue_name: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delayed, "BYTES_AT_A_TIME", 150)
    answers: list[Any] = []
    run = RedisClient.run

    async def noted(self: RedisClient, script: Any, *values: Any, **keys: Any) -> Any:
        answer = await run(self, script, *values, **keys)
        if script is MOVE_DUE:
            answers.append(answer[0])
        return answer

    monkeypatch.setattr(RedisClient, "run", noted)
    await client.zadd(
        f"retry_{queue_name}_delayed", {msgpack(["q", str(n), ["body", f"{n}" * 100]]): n for n in range(1, 7)}
    )
    async with running((queue_config(queue_name, "redis", broker_url=redis_url), UserHandler())):
        await eventually(lambda: sum(answers) == 6, "all are moved")
    assert max(answers) == 2


async def arrived(reader: DeadLetterQueueHandler) -> Delivery:
    """The next dead letter."""
    found: list[Delivery] = []

    async def came() -> bool:
        found.extend([delivery] if (delivery := await reader.receive()) else [])
        return bool(found)

    await eventually(came, "a dead letter comes")
    return found[0]


async def test_a_user_who_may_not_look_consumes_without(redis_url: str, queue_name: str, client: Any) -> None:
    """With the rights that the documentation listed before."""
    rights = (
        "+ping +info +select +eval +evalsha +exists +time +xadd +xack +xdel +xlen +xpending +xclaim +xautoclaim "
        "+xreadgroup +xinfo|groups +xinfo|consumers +xgroup|create +xgroup|delconsumer +zadd +zrem +zrange "
        "+zrangebyscore"
    )
    user = f"user_{queue_name}"
    await client.execute_command("ACL", "SETUSER", user, "on", ">pw", "resetchannels", "-@all", "~*", *rights.split())
    try:
        keys = {"broker_url": redis_url, "username": user, "password": "pw"}
        handler = UserHandler()
        async with running((queue_config(queue_name, "redis", **keys), handler)) as service:
            await service.publisher(queue_name).publish_message(queue_name, audio())
            await eventually(lambda: len(handler.handled) == 1, "it is handled")
    finally:
        await client.execute_command("ACL", "DELUSER", user)


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
            await eventually(lambda: {message.user_id for message in handler.handled} >= {number}, "it is handled")  # noqa: B023 - awaited before the next round
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
        assert await reader.receive() is None
        await client.delete(f"dlq_{queue_name}")
        await service.publisher(queue_name).publish_message(queue_name, audio(), message_id="one")

        async def dead() -> bool:
            return bool(await reader.depth() == 1)

        await eventually(dead, "there is a DLQ again")
        taken = []

        async def taken_again() -> bool:
            try:
                taken.append(await reader.receive())
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
        consumer.on_delivery = ignore
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
