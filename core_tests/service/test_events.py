"""Events of a running service, as a listener hears them, on the embedded provider."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from app.queue.instrumentation import events
from app.queue.instrumentation.events import (
    DrainEnded,
    DrainStarted,
    Event,
    LinkLost,
    LinkOpened,
    PublisherBlocked,
    PublisherUnblocked,
    add_listener,
)
from app.queue.providers.memory.parts import MemoryConsumer, MemoryPublisher
from app.queue.run import health, supervisor
from core_tests.tools.example import UserHandler, queue_config, running
from core_tests.tools.waiting import eventually


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    """What a listener hears during the test."""
    heard: list[Event] = []
    remove = add_listener(heard.append)
    yield heard
    remove()
    assert heard.append not in events._listeners


async def test_a_link_that_opens_is_told_for_each_side_of_each_queue(heard: list[Event]) -> None:
    async with running((queue_config("a"), UserHandler()), (queue_config("b", enable_consumer=False), None)):
        await eventually(lambda: len(heard) == 3, "all are connected")
        assert set(heard) == {LinkOpened("a", "consumer"), LinkOpened("a", "publisher"), LinkOpened("b", "publisher")}
    assert not [event for event in heard if isinstance(event, LinkLost)], "a drain loses no link, it closes it"


@pytest.mark.parametrize("raises", [False, True])
async def test_a_link_that_is_lost_is_told_with_the_reason(
    heard: list[Event], monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    monkeypatch.setattr(supervisor, "STABLE_AFTER", -1.0)
    losing = threading.Event()

    async def lost(self: MemoryConsumer) -> str:
        if losing.is_set():
            return str(await asyncio.Event().wait())
        await eventually(losing.is_set, "it is time")
        if raises:
            raise KeyError("heartbeat")
        return "no heartbeat"

    monkeypatch.setattr(MemoryConsumer, "lost", lost)
    async with running((queue_config("a", enable_publisher=False), UserHandler())):
        losing.set()
        await eventually(lambda: len(heard) == 3, "it is connected again")
    why = "KeyError: 'heartbeat'" if raises else "no heartbeat"
    lost_and_opened = [LinkOpened("a", "consumer"), LinkLost("a", "consumer", why), LinkOpened("a", "consumer")]
    assert heard == [*lost_and_opened, DrainStarted("a", 0), DrainEnded("a", 0)]


async def test_a_publisher_that_is_blocked_is_told_once_and_so_is_its_end(
    heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BLOCKED_INTERVAL", 0.01)
    async with running((queue_config("a", enable_consumer=False), None)):
        await eventually(lambda: len(heard) == 1, "it is connected")
        for state, event in (
            ("blocked", PublisherBlocked("a")),
            ("down", None),
            ("ready", PublisherUnblocked("a")),
            ("blocked", PublisherBlocked("a")),
        ):
            before = len(heard)
            monkeypatch.setattr(MemoryPublisher, "state", state)
            await asyncio.sleep(0.1)
            assert heard[before:] == ([event] if event else [])


async def test_a_listener_that_fails_hinders_nobody(heard: list[Event], caplog: pytest.LogCaptureFixture) -> None:
    def failing(event: Event) -> None:
        raise RuntimeError("the exporter is away")

    remove = add_listener(failing)
    async with running((queue_config("a"), UserHandler())):
        await eventually(lambda: len(heard) == 2, "both are told to the other one")
    remove()
    assert "a listener failed on LinkOpened(queue='a'" in caplog.text
