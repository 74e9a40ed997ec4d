"""A client that shares no code with us publishes to the service, and reads what became of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any
from unittest import mock

import pika
import pytest

from app.queue.names import dlq_name
from tests.tools.example import UserHandler, audio, queue_config, running
from tests.tools.rabbitmq_queues import channel, depth, drain, publish
from tests.tools.waiting import eventually

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
    text = b"\xff\xfe" if value in ("x", "y") else value.encode()
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
