"""Messages of other clients, which know nothing of this service."""

from __future__ import annotations

import codecs
import gzip
import json
from typing import Any

import pytest

from app.queue.handling import current_delivery
from app.queue.interfaces import Place
from app.queue.setup import get_dead_letters
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker

BODY = json.dumps(audio())
ODD = [
    {"body": BODY, "headers": "{", "message_id": ""},
    {"body": BODY, "headers": "[1]"},
    {"body": BODY, "headers": "[" * 5000},
    {"body": BODY, "headers": '{"queue-attempts": -5, "queue-crashes": "x", "dlq-reason": 7}'},
    {"body": BODY, b"\xff\xfe": b"\x00\xff", "message_id": b"\xff"},
    {"body": BODY, "": "", "BODY": "{}"},
    {"body": BODY, **{f"field{number}": "x" for number in range(3000)}},
]


async def test_a_body_is_all_that_a_message_needs(redis_url: str, queue_name: str, client: Any) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(_: SendAudioMessage) -> None:
        seen.append((current_delivery().message_id, dict(current_delivery().headers)))

    async with running((queue_config(queue_name, "redis", broker_url=redis_url), UserHandler(note))):
        entry = await client.xadd(queue_name, {"body": BODY})
        await eventually(lambda: len(seen) == 1, "it is handled")
        await client.xadd(
            queue_name, {"body": BODY, "message_id": "theirs", "headers": '{"traceparent": "00-1", "n": 1}'}
        )
        await eventually(lambda: len(seen) == 2, "it is handled")
    assert seen == [(entry, {}), ("theirs", {"traceparent": "00-1", "n": 1})]


async def test_a_message_without_id_keeps_that_of_its_entry(redis_url: str, queue_name: str, client: Any) -> None:
    def fail(_: SendAudioMessage) -> None:
        raise RuntimeError("no")

    handler = UserHandler(fail)
    async with running((queue_config(queue_name, "redis", broker_url=redis_url), handler)):
        entry = await client.xadd(queue_name, {"body": BODY})
        await eventually(lambda: len(handler.attempts) == 3, "it was tried three times")
    assert handler.attempts == [(entry, 1), (entry, 2), (entry, 3)]


async def test_an_entry_without_a_body_is_poison_and_keeps_its_fields(
    redis_url: str, queue_name: str, client: Any
) -> None:
    async with running((queue_config(queue_name, "redis", broker_url=redis_url), UserHandler())):
        await client.xadd(queue_name, {"type": "send_audio", "user_id": "1"})

        async def dead() -> bool:
            return bool(await client.xlen(f"dlq_{queue_name}") == 1)

        await eventually(dead, "it is in the DLQ")
    ((_, fields),) = await client.xrange(f"dlq_{queue_name}")
    assert (fields["type"], fields["user_id"], fields["body"]) == ("send_audio", "1", "")
    assert json.loads(fields["headers"])["dlq-reason"] == "not_json"


async def test_fields_that_this_service_does_not_know_go_wherever_the_message_goes(
    redis_url: str, queue_name: str, client: Any
) -> None:
    attempts = 0

    def fail(_: SendAudioMessage) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 3:
            raise RuntimeError("no")

    handler = UserHandler(fail)
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    async with running((config, handler)):
        await client.xadd(queue_name, {"tenant": "7", "body": BODY, "trace": "\u00e4\n"})
        dead_letters = get_dead_letters(config)

        async def dead() -> bool:
            return bool(await dead_letters.depth() == 1)

        await eventually(dead, "after two retries it is in the DLQ")
        await dead_letters.close()
    ((_, fields),) = await client.xrange(f"dlq_{queue_name}")
    assert (fields["tenant"], fields["trace"], fields["body"]) == ("7", "\u00e4\n", BODY)


async def test_whatever_fields_an_entry_has_it_goes_to_the_dlq_and_back(
    redis_url: str, queue_name: str, client: Any
) -> None:
    attempts = 0

    def behave(_: SendAudioMessage) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 3 * len(ODD):
            raise RuntimeError("no")

    handler = UserHandler(behave)
    config = queue_config(queue_name, "redis", broker_url=redis_url, dlq={"retry_interval": 1}, pause={"after": 0})
    async with running((config, handler)):
        for fields in ODD:
            await client.xadd(queue_name, fields)
        await eventually(lambda: len(handler.handled) == len(ODD), "all came back from the DLQ and are handled")


async def test_what_somebody_else_put_among_the_delayed_holds_up_nothing(
    redis_url: str, queue_name: str, client: Any
) -> None:
    handler = UserHandler()
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    await client.zadd(f"retry_{queue_name}_delayed", {"no message": 0, b"\x93\x01\x02\x90": 0, BODY: 1})
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 1, "what is a body is handled")
        dead_letters = get_dead_letters(config, Place.DLQ)

        async def dead() -> bool:
            return bool(await dead_letters.depth() == 2)

        await eventually(dead, "the rest is dead")
        await dead_letters.close()


async def test_a_compressed_body_is_undone_for_the_handler_and_travels_with_its_header(
    redis_url: str, queue_name: str, client: Any
) -> None:
    def fail_one(message: SendAudioMessage) -> None:
        if message.user_id == 2:
            raise RuntimeError("no")

    handler = UserHandler(fail_one)
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    bodies = [gzip.compress(json.dumps(audio(number)).encode()) for number in (1, 2, 3)]
    async with running((config, handler)):
        for body, encoding in zip(bodies, ("gzip", "gzip", "br"), strict=True):
            await client.xadd(queue_name, {"body": body, "headers": json.dumps({"Content-Encoding": encoding})})
        await client.xadd(queue_name, {"body": codecs.BOM_UTF8 + json.dumps(audio(4)).encode()})
        dead_letters = get_dead_letters(config)

        async def dead() -> bool:
            return bool(await dead_letters.depth() == 2)

        await eventually(dead, "two are in the DLQ")
        found = [await dead_letters.receive(), await dead_letters.receive()]
        await dead_letters.close()
    assert {message.user_id for message in handler.handled} == {1, 4}
    seen = {
        (message.headers["dlq-reason"], message.headers["Content-Encoding"], message.body)
        for message in (delivery.message for delivery in found if delivery)
    }
    assert seen == {("exhausted", "gzip", bodies[1]), ("bad_encoding", "br", bodies[2])}


async def test_a_copy_of_a_dead_letters_fields_has_fresh_attempts(redis_url: str, queue_name: str, client: Any) -> None:
    def fail(_: SendAudioMessage) -> None:
        raise RuntimeError("no")

    handler = UserHandler(fail)
    async with running((queue_config(queue_name, "redis", broker_url=redis_url), handler)):
        await client.xadd(queue_name, {"body": BODY, "message_id": "moved"})

        async def dead() -> bool:
            return bool(await client.xlen(f"dlq_{queue_name}") == 1)

        for moved in range(3):
            await eventually(dead, "it is in the DLQ")
            assert handler.attempts == [("moved", 1), ("moved", 2), ("moved", 3)] * (moved + 1)
            ((entry, fields),) = await client.xrange(f"dlq_{queue_name}")
            assert json.loads(fields["headers"]).get("queue-replays", 0) == moved
            await client.xdel(f"dlq_{queue_name}", entry)
            await client.xadd(queue_name, fields)
        await eventually(lambda: len(handler.attempts) == 12, "it was tried again")
