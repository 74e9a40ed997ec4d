"""What lies in the quarantine's place of before the first release is run, once. To be dropped with the next one."""

from __future__ import annotations

from typing import Any

import pydantic_core
import pytest

from app.queue.interfaces import Place
from app.queue.messages.message import place_name
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.rabbitmq_queues import channel, depth, publish
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker
KEPT: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}


async def test_what_an_older_version_left_is_run(rabbitmq_url: str, queue_name: str) -> None:
    old = place_name(queue_name, Place.OLD_QUARANTINE)
    assert old == f"retry_{queue_name}_crashed"
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(old, durable=True, arguments=KEPT)
    for name in ("one", "two"):
        publish(rabbitmq_url, old, pydantic_core.to_json(audio()), message_id=name, headers={"queue-crashes": 1})
    handler = UserHandler()
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), handler)):
        await eventually(lambda: len(handler.handled) == 2, "both are handled")
        await eventually(lambda: depth(rabbitmq_url, old) == 0, "both are settled")
    assert handler.attempts == [("one", 1), ("two", 1)]


async def test_where_there_is_no_such_place_none_is_made(rabbitmq_url: str, queue_name: str) -> None:
    handler = UserHandler()
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), handler)):
        publish(rabbitmq_url, queue_name, pydantic_core.to_json(audio()), message_id="one")
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert depth(rabbitmq_url, place_name(queue_name, Place.OLD_QUARANTINE)) == -1
