"""Messages that were in hand when a process died, on the embedded provider."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pydantic_core
import pytest

from app.queue import suspects
from app.queue.interfaces import Message
from app.queue.names import dlq_name, suspects_name
from app.queue.policy import MAX_CRASHES
from app.queue.providers.memory.broker import broker
from tests.tools.example import UserHandler, audio, queue_config, running
from tests.tools.waiting import eventually

BODY = pydantic_core.to_json(audio())


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "LOOK_EVERY", 0.05)


async def test_what_another_process_left_is_run_once_by_itself_and_its_count_ends() -> None:
    handler = UserHandler()
    broker.put_back("user_channel", Message(BODY, "left"))
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert handler.attempts == [("left", 1)]
    assert broker.depth(suspects_name("user_channel")) == 0


async def test_what_was_in_hand_at_three_deaths_is_dead_lettered_and_not_run() -> None:
    handler = UserHandler()
    broker.put_back("user_channel", Message(BODY, "guilty", {"queue-crashes": MAX_CRASHES - 1}))
    async with running((queue_config(), handler)):
        await eventually(lambda: broker.depth(dlq_name("user_channel")) == 1, "it is dead-lettered")
    assert handler.attempts == []
    assert broker.messages(dlq_name("user_channel"))[0].headers["dlq-reason"] == "crashed"


async def test_suspects_run_one_at_a_time_with_nothing_beside_them() -> None:
    at_once: list[int] = []
    now = 0

    async def count(_: Any) -> None:
        nonlocal now
        now += 1
        at_once.append(now)
        await asyncio.sleep(0.05)
        now -= 1

    handler = UserHandler(count)
    for number in range(3):
        broker.put(suspects_name("user_channel"), Message(BODY, f"suspect {number}", {"queue-crashes": 1}))
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.handled) == 3, "all are handled")
    assert at_once == [1, 1, 1]


async def test_a_suspect_waits_until_its_handlers_context_is_open() -> None:
    class Late(UserHandler):
        opened = False
        tries = 0

        async def __aenter__(self) -> Self:
            Late.tries += 1
            if Late.tries < 4:
                raise ConnectionError("the database is not up yet")
            self.opened = True
            return self

        async def __aexit__(self, *_: object) -> None:
            self.opened = False

    seen: list[bool] = []
    handler = Late(lambda _: seen.append(handler.opened))
    broker.put(suspects_name("user_channel"), Message(BODY, "suspect", {"queue-crashes": 1}))
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert seen == [True]


async def test_the_drain_leaves_suspects_where_they_are() -> None:
    handler = UserHandler(lambda _: asyncio.sleep(0.3))
    for number in range(5):
        broker.put(suspects_name("user_channel"), Message(BODY, f"suspect {number}", {"queue-crashes": 1}))
    async with running((queue_config(), handler)):
        await eventually(lambda: len(handler.attempts) == 1, "one runs")
    assert len(handler.handled) == 1
    assert broker.depth(suspects_name("user_channel")) == 4
    assert broker.depth("user_channel") == 0
