"""What a process remembers of deliveries whose link broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.queue.interfaces import Delivery, Message
from app.queue.policy import DONE, Outcome
from app.queue.recall import Recall


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.Event]:
    """Tasks made by `running()` end when this is set."""
    event = asyncio.Event()
    yield event
    event.set()


def running(event: asyncio.Event) -> asyncio.Task[Outcome | None]:
    async def handle() -> Outcome | None:
        await event.wait()
        return DONE

    return asyncio.create_task(handle())


def delivery(message_id: str = "id", body: bytes = b"{}") -> Delivery:
    return Delivery("q", Message(body, message_id or "made up"), identity=message_id)


async def test_a_remembered_message_is_claimed_once(tasks: asyncio.Event) -> None:
    recall, task = Recall(1), running(tasks)
    recall.remember({delivery(): task})
    again = Delivery("q", Message(b"{}", "id", {"new": "headers"}), redelivered=True, identity="id")
    assert recall.claim(again) is task
    assert recall.claim(again) is None


@pytest.mark.parametrize("other", [delivery("other"), delivery("id", b"other")])
async def test_another_id_or_another_body_is_another_message(tasks: asyncio.Event, other: Delivery) -> None:
    recall = Recall(1)
    recall.remember({delivery(): running(tasks)})
    assert recall.claim(other) is None


async def test_a_message_that_came_without_an_id_is_known_by_its_body(tasks: asyncio.Event) -> None:
    recall, task = Recall(1), running(tasks)
    recall.remember({delivery(""): task})
    assert recall.claim(Delivery("q", Message(b"{}", "made up anew"), redelivered=True)) is task


async def test_two_equal_messages_are_remembered_as_two(tasks: asyncio.Event) -> None:
    recall, first, second = Recall(1), running(tasks), running(tasks)
    recall.remember({delivery(): first, delivery(): second})
    assert {recall.claim(delivery()), recall.claim(delivery())} == {first, second}


async def test_only_what_still_runs_is_running(tasks: asyncio.Event) -> None:
    recall, done, task = Recall(1), running(tasks), running(asyncio.Event())
    tasks.set()
    await done
    recall.remember({delivery("done"): done, delivery("task"): task})
    assert set(recall.running()) == {task}
    assert recall.claim(delivery("done")) is done
    task.cancel()


async def test_the_oldest_are_forgotten_beyond_four_times_the_prefetch(tasks: asyncio.Event) -> None:
    recall = Recall(2)
    for number in range(10):
        recall.remember({delivery(f"{number}"): running(tasks)})
    known = [number for number in range(10) if recall.claim(delivery(f"{number}")) is not None]
    assert known == [2, 3, 4, 5, 6, 7, 8, 9]
