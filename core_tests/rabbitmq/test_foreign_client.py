"""A client that shares no code with us publishes to the service, and reads what became of it."""

from __future__ import annotations

import codecs
import gzip
import json
import shutil
import subprocess
from typing import Any
from unittest import mock

import pika
import pytest

from app.queue.errors import MessageTooLargeError
from app.queue.interfaces import Message, Place
from app.queue.setup import get_dead_letters, get_processor, get_publisher
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name
from core_tests.tools.rabbitmq_queues import channel, depth, drain, publish
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker

POISON = [
    (b"garbage", "not_json"),
    (b"", "not_json"),
    (b"\xff\xfe\x00", "not_json"),
    (b"[1, 2]", "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"null", "not_an_object"),
    (b"{}", "no_type"),
    (b'{"type": 7}', "no_type"),
    (b'{"type": ["send_audio"]}', "no_type"),
    (b'{"type": "unheard_of"}', "unknown_type"),
    (b'{"type": "send_audio", "user_id": "x"}', "invalid_payload"),
]


async def test_poison_is_dead_lettered_once_with_its_reason_and_holds_nothing_up(
    rabbitmq_url: str, queue_name: str
) -> None:
    handler = UserHandler()
    good = json.dumps(audio()).encode()
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, prefetch=2), handler)):
        for body, reason in POISON:
            publish(rabbitmq_url, queue_name, body, message_id=f"{reason} {body!r}")
        publish(rabbitmq_url, queue_name, good, good)
        await eventually(lambda: len(handler.handled) == 2, "the good ones behind it are handled")
        await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == len(POISON), "all poison is in the DLQ")
    dead = drain(rabbitmq_url, dlq_name(queue_name))
    found = {(properties.message_id, properties.headers["dlq-reason"], body) for properties, body in dead}
    assert found == {(f"{reason} {body!r}", reason, body) for body, reason in POISON}


async def test_a_message_without_any_properties_is_handled(rabbitmq_url: str, queue_name: str) -> None:
    if (tool := shutil.which("amqp-publish")) is None:
        pytest.skip("amqp-publish (Debian's amqp-tools) is not installed")
    handler = UserHandler()
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), handler)):
        subprocess.run([tool, "-u", rabbitmq_url.rstrip("/"), "-r", queue_name, "-b", json.dumps(audio())], check=True)  # noqa: ASYNC221
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert handler.attempts[0][0], "it was given an id"


async def test_properties_of_every_kind_survive_a_retry(rabbitmq_url: str, queue_name: str) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    headers: dict[str, Any] = {
        "text": "ü" * 100,
        "number": 2**62,
        "negative": -1,
        "flag": True,
        "nothing": None,
        "bytes": b"\x00\xff",
        "list": [1, "two", None],
        "table": {"inner": {"deep": [1]}},
    }
    properties = {
        "message_id": "m",
        "correlation_id": "c",
        "reply_to": "r",
        "priority": 3,
        "app_id": "a",
        "type": "t",
        "content_encoding": "utf-8",
        "timestamp": 1_700_000_000,
        "expiration": "600000",
        "user_id": None,
    }
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), UserHandler(fail))):
        publish(rabbitmq_url, queue_name, json.dumps(audio()).encode(), headers=headers, **properties)
        await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == 1, "it is dead-lettered")
    ((dead, _),) = drain(rabbitmq_url, dlq_name(queue_name))
    assert {name: dead.headers[name] for name in headers} == headers
    kept = ("message_id", "correlation_id", "reply_to", "priority", "app_id", "type", "content_encoding", "timestamp")
    assert {name: getattr(dead, name) for name in kept} == {name: properties[name] for name in kept}
    assert dead.expiration is None, "or it would vanish from the DLQ"


async def test_properties_that_the_library_can_not_read_stop_nothing(rabbitmq_url: str, queue_name: str) -> None:
    handler = UserHandler()
    body = json.dumps(audio()).encode()
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), handler)):
        for timestamp in (0, 2**32, 2**62, 2**63 + 5):
            publish(rabbitmq_url, queue_name, body, timestamp=timestamp)
        # Text that is not UTF-8, which pika would not send by itself.
        with channel(rabbitmq_url) as ch, mock.patch("pika.data.encode_short_string", not_utf_8):
            ch.basic_publish("", queue_name, body, pika.BasicProperties(correlation_id="x", headers={"y": 1}))
        await eventually(lambda: len(handler.handled) == 5, "all are handled")


def not_utf_8(pieces: list[bytes], value: str) -> int:
    text = {"x": b"\xff\xfe", "y": b"\xff\xfe", "long": b"\xff" * 255}.get(value, value.encode())
    pieces.append(bytes([len(text)]) + text)
    return 1 + len(text)


async def test_oversized_foreign_headers_are_dropped_and_named(rabbitmq_url: str, queue_name: str) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("x" * 300_000)

    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), UserHandler(fail))):
        headers = {"huge": "x" * 120_000, "small": "stays"}
        publish(rabbitmq_url, queue_name, json.dumps(audio()).encode(), headers=headers)
        await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == 1, "it is dead-lettered")
    ((dead, _),) = drain(rabbitmq_url, dlq_name(queue_name))
    assert dead.headers["small"] == "stays"
    assert dead.headers["dlq-dropped-headers"] == "huge"
    assert len(json.dumps(dead.headers)) < 10_000


async def test_many_headers_with_long_names_end_no_connection(rabbitmq_url: str, queue_name: str) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    headers = {"\N{CJK UNIFIED IDEOGRAPH-4E2D}" * 40 + f"{number:04}": True for number in range(1000)}
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    async with running((config, UserHandler(fail))) as service:
        publish(rabbitmq_url, queue_name, json.dumps(audio()).encode(), headers=headers)
        await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == 1, "it is dead-lettered")
        assert service.health().status == "healthy"
    ((dead, _),) = drain(rabbitmq_url, dlq_name(queue_name))
    assert "\N{CJK UNIFIED IDEOGRAPH-4E2D}" in dead.headers["dlq-dropped-headers"]


@pytest.mark.parametrize(("size", "dropped"), [(125_000, None), (130_000, "huge, small")])
async def test_headers_that_leave_no_room_for_ours_are_left_out_and_the_link_lives(
    rabbitmq_url: str, queue_name: str, size: int, dropped: str | None
) -> None:
    """All headers of a message must fit into one frame: RabbitMQ closes the connection for one that is larger."""
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    reader, processor = get_dead_letters(config, Place.QUEUE), get_processor(config)
    async with running((config, UserHandler())):
        pass  # its places are there
    publish(rabbitmq_url, queue_name, b"{}", headers={"huge": "x" * size, "small": "y"}, message_id="at the limit")
    delivery = await reader.receive()
    assert delivery is not None
    ours = {"dlq-reason": "exhausted", "dlq-traceback": "t" * 4000, "dlq-exception-message": "e" * 1000}
    message = Message(delivery.message.body, delivery.message.message_id, {**delivery.message.headers, **ours})
    await processor.move(delivery, message, Place.DLQ)
    await reader.close()
    await processor.close()
    ((properties, body),) = drain(rabbitmq_url, dlq_name(queue_name))
    assert (properties.message_id, body, depth(rabbitmq_url, queue_name)) == ("at the limit", b"{}", 0)
    assert len(properties.headers["dlq-traceback"]) <= 200
    found = (properties.headers["dlq-reason"], properties.headers.get("dlq-dropped-headers"))
    assert found == ("exhausted", dropped)
    assert ("huge" in properties.headers) is (dropped is None)


async def test_a_publish_with_headers_that_no_frame_holds_is_too_large(rabbitmq_url: str, queue_name: str) -> None:
    publisher = get_publisher(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))
    await publisher.publish_message(queue_name, audio())
    with pytest.raises(MessageTooLargeError, match="bytes of headers, and a frame holds"):
        await publisher.publish_message(queue_name, audio(), headers={"huge": "x" * 130_000})
    assert publisher.state == "ready"
    await publisher.publish_message(queue_name, audio(), headers={"large": "x" * 120_000})
    await publisher.close()
    assert len(drain(rabbitmq_url, queue_name)) == 2


async def test_a_compressed_body_is_undone_for_the_handler_and_travels_with_its_property(
    rabbitmq_url: str, queue_name: str
) -> None:
    def fail_one(message: SendAudioMessage) -> None:
        if message.user_id == 2:
            raise RuntimeError("no")

    handler = UserHandler(fail_one)
    good, bad = (gzip.compress(json.dumps(audio(number)).encode()) for number in (1, 2))
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), handler)):
        publish(rabbitmq_url, queue_name, good, bad, content_encoding="gzip")
        publish(rabbitmq_url, queue_name, codecs.BOM_UTF8 + json.dumps(audio(3)).encode(), content_encoding="utf-8")
        # One whose other properties can't be written again does not lose this one.
        with channel(rabbitmq_url) as ch, mock.patch("pika.data.encode_short_string", not_utf_8):
            ch.basic_publish("", queue_name, bad, pika.BasicProperties(content_encoding="gzip", correlation_id="long"))
        publish(rabbitmq_url, queue_name, good, content_encoding="br")
        await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == 3, "three are dead-lettered")
        assert {message.user_id for message in handler.handled} == {1, 3}
    dead = drain(rabbitmq_url, dlq_name(queue_name))
    found = sorted((properties.headers["dlq-reason"], properties.content_encoding, body) for properties, body in dead)
    assert found == [("bad_encoding", "br", good), ("exhausted", "gzip", bad), ("exhausted", "gzip", bad)]


async def test_what_a_shovel_moves_back_has_fresh_attempts(rabbitmq_url: str, queue_name: str) -> None:
    """It publishes what it takes as it is. So does "Move messages" of the management page, which makes one."""

    def fail(_: object) -> None:
        raise RuntimeError("no")

    handler = UserHandler(fail)
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), handler)):
        publish(rabbitmq_url, queue_name, json.dumps(audio()).encode(), message_id="moved")
        for moved in range(3):
            await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == 1, "it is dead-lettered")
            assert handler.attempts == [("moved", 1), ("moved", 2), ("moved", 3)] * (moved + 1)
            with channel(rabbitmq_url) as ch:
                _, properties, body = ch.basic_get(dlq_name(queue_name), auto_ack=True)
                ch.basic_publish("", queue_name, body, properties)
            assert properties.headers.get("queue-replays", 0) == moved
        await eventually(lambda: len(handler.attempts) == 12, "it was tried again")
