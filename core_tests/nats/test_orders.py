"""Headers on which JetStream, or a client, acts are left behind when a message is moved on, and named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from nats.js import JetStreamContext

from app.queue.interfaces import Place
from app.queue.messages.message import undivided_name
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_publisher
from core_tests.tools.consumer import ignore
from core_tests.tools.example import audio, queue_config
from core_tests.tools.ways import WAYS, moved

pytestmark = pytest.mark.broker

BODY = json.dumps(audio()).encode()
KEPT = {"tenant": "7", "x-nats-tenant": "8", "traceparent": "00-1"}
OURS = {"Nats-Msg-Id", "Nats-Expected-Stream"}
STORED = [
    *("Nats-Msg-Id", "nats-msg-id", "Nats-Expected-Stream", "Nats-Expected-Last-Sequence"),
    *("Nats-Expected-Last-Subject-Sequence", "nats-expected-last-msg-id", "nats-rollup", "NATS-ROLLUP"),
    *("Nats-TTL", "Nats-Marker-Reason", "Nats-Schedule", "Nats-Schedule-Target", "Nats-Schedule-TTL", "Nats-Incr"),
    *("Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit", "Nats-Required-Api-Level", "Nats-Trace-Dest"),
    *("Nats-Stream-Source", "Status", "status"),
]
"""What this server stores, and it or a later one obeys when it is published again. The case counts, for NATS."""


async def declared(url: str, queue: str) -> Any:
    """The queue with all its places."""
    config = queue_config(queue, "nats", broker_url=url)
    consumer = get_consumer(config, MessageProcessor())
    consumer.on_delivery = ignore
    await consumer.open()
    await consumer.close()
    return config


async def only(jetstream: JetStreamContext, stream: str) -> dict[str, str]:
    """The headers of the one message that is in the stream, which is empty afterwards."""
    assert (await jetstream.stream_info(stream)).state.messages == 1
    found = await jetstream.get_last_msg(stream, stream)
    await jetstream.purge_stream(stream)
    assert json.loads(found.data or b"") == audio()
    assert found.headers is not None
    return found.headers


def value(name: str, last: int, unique: str) -> str:
    """Something with which the server takes the message for the first time."""
    lower = name.lower()
    if "expected-stream" in lower:
        return unique
    return str(last) if lower == "nats-expected-last-sequence" else "0" if lower.endswith("-sequence") else unique


@pytest.mark.parametrize("name", STORED)
async def test_no_header_on_which_the_server_acts_is_sent_again(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, name: str
) -> None:
    config = await declared(nats_url, queue_name)
    for way in WAYS:
        source, target = undivided_name(queue_name, way.source), undivided_name(queue_name, way.target)
        last = (await jetstream.stream_info(source)).state.last_seq
        unique = source if name.lower() == "nats-expected-stream" else f"{way.name} {name}"
        headers = {**KEPT, **dict(way.headers), name: value(name, last, unique)}
        await jetstream.publish(source, BODY, headers=headers)
        await way.go(config)
        found = await only(jetstream, target)
        assert name not in set(found) - OURS, way.name
        assert found.get(name) != headers[name] or name == "Nats-Expected-Stream", way.name
        assert found["dlq-dropped-headers"] == name, way.name
        assert {name: found.get(name) for name in KEPT} == KEPT, way.name


async def test_an_order_that_came_in_no_header_of_its_own_is_left_behind_too(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    config = await declared(nats_url, queue_name)
    others = json.dumps({"Nats-Rollup": ["all"], "tenant": 7})
    await jetstream.publish(queue_name, BODY, headers={"queue-headers": others})
    await moved(config, Place.DLQ, lambda message: message)
    found = await only(jetstream, f"dlq_{queue_name}")
    assert found["dlq-dropped-headers"] == "Nats-Rollup"
    assert json.loads(found["queue-headers"]) == {"tenant": 7}


async def test_what_we_tell_the_server_ourselves_is_not_named(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    config = await declared(nats_url, queue_name)
    publisher = get_publisher(config)
    await publisher.publish_message(queue_name, audio())
    await publisher.close()
    await moved(config, Place.DLQ, lambda message: message)
    assert "dlq-dropped-headers" not in await only(jetstream, f"dlq_{queue_name}")


async def test_a_name_that_ends_like_the_servers_own_does_not_hide_ours(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    """A repeat would be stored twice, and a message could land in another stream."""
    config = await declared(nats_url, queue_name)

    headers = {"x-Nats-Msg-Id": "a", "x-Nats-Expected-Stream": "b"}
    publisher = get_publisher(config)
    for _ in range(2):
        await publisher.publish_message(queue_name, audio(), message_id="one", headers=headers)
    await publisher.close()
    assert (await jetstream.stream_info(queue_name)).state.messages == 1
