"""Redis acts on nothing that a message carries: whatever its fields are called, they go wherever it goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.queue.interfaces import Place
from app.queue.messages.message import undivided_name
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer
from core_tests.tools.consumer import ignore
from core_tests.tools.example import audio, queue_config
from core_tests.tools.ways import Way, every_way

pytestmark = pytest.mark.broker

BODY = json.dumps(audio())
FIELDS = {"MAXLEN": "0", "NOMKSTREAM": "", "*": "=", "LIMIT": "1", "EX": "1", "service": "XX", "CC": "x"}
HEADERS = {"CC": ["x"], "Nats-Rollup": "all", "x-delay": 1, "EX": 1}


@every_way
async def test_every_field_and_header_goes_wherever_the_message_goes(
    redis_url: str, queue_name: str, client: Any, way: Way
) -> None:
    config = queue_config(queue_name, "redis", broker_url=redis_url)
    consumer = get_consumer(config, MessageProcessor())
    consumer.on_delivery = ignore
    await consumer.open()
    await consumer.close()
    headers = {**HEADERS, **dict(way.headers)}
    await client.xadd(undivided_name(queue_name, way.source), {"body": BODY, "headers": json.dumps(headers), **FIELDS})
    await way.go(config)
    if way.target is Place.RETRY:
        (packed,) = await client.execute_command(
            "ZRANGE", undivided_name(queue_name, Place.RETRY), 0, -1, NEVER_DECODE=True
        )
        assert all(name.encode() in packed and value.encode() in packed for name, value in FIELDS.items())
        assert all(f'"{name}": '.encode() in packed for name in HEADERS)
        assert b"dlq-dropped-headers" not in packed
        return
    ((_, found),) = await client.xrange(undivided_name(queue_name, way.target))
    assert {name: found.get(name) for name in FIELDS} == FIELDS
    got = json.loads(found["headers"])
    assert {name: got.get(name) for name in HEADERS} == HEADERS
    assert "dlq-dropped-headers" not in got
