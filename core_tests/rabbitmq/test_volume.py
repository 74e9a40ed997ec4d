"""Ten thousand messages, some of which fail, and some garbage: every one ends where it belongs, and nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.queue.config import load_queues
from app.queue.messages.message import retry_name
from app.queue.setup import get_publisher
from core_tests.tools.example import UserHandler, audio, queue_config
from core_tests.tools.places import dlq_name, parked_name
from core_tests.tools.rabbitmq_queues import TEST_RETRY, depth, drain, publish
from core_tests.tools.server import serving
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(300)]

TOTAL = 10_000
GARBAGE = 100


async def test_every_message_ends_where_it_belongs(rabbitmq_url: str, queue_name: str, tmp_path: Path) -> None:
    failed_once: set[int] = set()

    def behave(message: Any) -> None:
        if message.user_id % 100 == 0:
            raise RuntimeError("always")
        if message.user_id % 20 == 1 and message.user_id not in failed_once:
            failed_once.add(message.user_id)
            raise RuntimeError("once")

    handler = UserHandler(behave)
    # A busy machine may take long for a confirm, which is not what is tried here.
    keys = {"prefetch": 100, "concurrency": 50, "publish_timeout": 60}
    queue = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, **keys)
    async with serving(tmp_path, [queue.model_dump()], {queue_name: handler}) as client:
        by_http, by_publisher = range(TOTAL // 2), range(TOTAL // 2, TOTAL)
        ids = await asyncio.gather(
            publish_by_http(client, queue_name, by_http),
            publish_by_publisher(queue_name, by_publisher),
            garbage(rabbitmq_url, queue_name),
        )
        assert len({*ids[0], *ids[1]}) == TOTAL
        good = {number for number in range(TOTAL) if number % 100 != 0}
        await eventually(lambda: len(handler.handled) >= len(good), "every good message is handled", timeout=120)
        bad = TOTAL - len(good) + GARBAGE
        await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == bad, "the rest is in the DLQ", timeout=60)
    assert Counter(message.user_id for message in handler.handled) == dict.fromkeys(good, 1)
    dead = drain(rabbitmq_url, dlq_name(queue_name))
    reasons = Counter(properties.headers["dlq-reason"] for properties, _ in dead)
    assert reasons == {"exhausted": TOTAL // 100, "not_json": GARBAGE}
    exhausted = [json.loads(body)["user_id"] for properties, body in dead if properties.headers["dlq-attempts"] == 3]
    assert sorted(exhausted) == [number for number in range(TOTAL) if number % 100 == 0]
    leftover = [queue_name, parked_name(queue_name), *(retry_name(queue_name, delay) for delay in TEST_RETRY.delays())]
    assert {name: depth(rabbitmq_url, name) for name in leftover} == dict.fromkeys(leftover, 0)


async def publish_by_http(client: httpx2.AsyncClient, queue: str, numbers: range) -> list[str]:
    """50 connections, as a busy client would."""
    waiting = iter(numbers)

    async def one_connection() -> list[str]:
        ids = []
        for number in waiting:
            answer = await client.post(f"/queues/{queue}/messages", json=audio(number))
            assert answer.status_code == 202, answer.text
            ids.append(answer.json()["message_id"])
        return ids

    return [message_id for ids in await asyncio.gather(*(one_connection() for _ in range(50))) for message_id in ids]


async def publish_by_publisher(queue: str, numbers: range) -> list[str]:
    """As the design's script does, 100 in flight."""
    publisher = get_publisher(load_queues().queues[0])
    waiting = iter(numbers)

    async def one_by_one() -> list[str]:
        return [await publisher.publish_message(queue, audio(number)) for number in waiting]

    ids = [message_id for ids in await asyncio.gather(*(one_by_one() for _ in range(100))) for message_id in ids]
    await publisher.close()
    return ids


async def garbage(url: str, queue: str) -> None:
    """From a client that shares no code with us."""
    await asyncio.to_thread(publish, url, queue, *(b"garbage %d" % number for number in range(GARBAGE)))
