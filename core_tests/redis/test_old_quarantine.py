"""What lies in the quarantine's place of before the first release is run, once. To be dropped with the next one."""

from __future__ import annotations

from typing import Any

import pydantic_core
import pytest

from app.queue.interfaces import Place
from app.queue.messages.message import place_name
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def test_what_an_older_version_left_is_run_and_where_nothing_is_left_nothing_is_made(
    redis_url: str, queue_name: str, client: Any
) -> None:
    old = place_name(queue_name, Place.OLD_QUARANTINE)
    config, handler = queue_config(queue_name, "redis", broker_url=redis_url), UserHandler()
    async with running((config, handler)):
        pass
    assert not await client.exists(old)
    entry = {"body": pydantic_core.to_json(audio()), "message_id": "one", "headers": '{"queue-crashes": 1}'}
    await client.xadd(old, entry)
    await client.xgroup_create(old, "service", "0")
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert await client.xlen(old) == 0
    assert handler.attempts == [("one", 1)]
