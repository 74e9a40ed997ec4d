"""`publish()`, on whatever loop or thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from app.queue.config import QueueConfig, QueuesConfig
from app.queue.errors import PublishError
from app.queue.interfaces import Body, BreakerState, PublisherState, QueuePublisher
from app.queue.publishing import (
    PublisherDisabledError,
    Publishers,
    UnknownQueueError,
    install,
    publish,
    publish_from_thread,
    uninstall,
)
from core_tests.tools.example import queue_config


class RecordingPublisher(QueuePublisher):
    """Notes what was published, and on which loop."""

    def __init__(self, config: QueueConfig) -> None:
        super().__init__(config.name, config)
        self.published: list[tuple[str, Body, str | None, Mapping[str, Any] | None]] = []
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.error: Exception | None = None
        self.closed = False

    async def publish_message(
        self, queue: str, body: Body, *, message_id: str | None = None, headers: Mapping[str, Any] | None = None
    ) -> str:
        if self.error is not None:
            raise self.error
        self.loops.append(asyncio.get_running_loop())
        self.published.append((queue, body, message_id, headers))
        return message_id or "new id"

    async def open(self) -> None: ...

    async def lost(self) -> str:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True

    @property
    def state(self) -> PublisherState:
        return "ready"

    @property
    def breaker_state(self) -> BreakerState:
        return "closed"


CONFIG = QueuesConfig(queues=[queue_config("a"), queue_config("b"), queue_config("off", enable_publisher=False)])
MESSAGE = {"type": "x"}


def publishers() -> Publishers:
    return Publishers(CONFIG, RecordingPublisher)


def recording(publishers: Publishers, queue: str = "a") -> RecordingPublisher:
    publisher = publishers.get(queue)
    assert isinstance(publisher, RecordingPublisher)
    return publisher


@pytest.fixture
async def home() -> AsyncIterator[Publishers]:
    """The publishers of a running service, whose home is this loop."""
    home = publishers()
    install(home, home=True)
    yield home
    uninstall(home)


async def test_there_is_one_publisher_a_queue_made_when_it_is_first_needed() -> None:
    made: list[str] = []

    def make(config: QueueConfig) -> QueuePublisher:
        made.append(config.name)
        return RecordingPublisher(config)

    publishers = Publishers(CONFIG, make)
    assert made == []
    assert publishers.get("a") is publishers.get("a")
    publishers.get("b")
    assert made == ["a", "b"]


async def test_a_queue_that_is_not_there_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(UnknownQueueError, match=r"there is no queue 'c'; queues\.yaml has: a, b, off"):
        publishers().get("c")


async def test_a_queue_without_publisher_is_an_error_that_names_it_and_the_key() -> None:
    with pytest.raises(PublisherDisabledError, match="queue 'off' has enable_publisher: false"):
        publishers().get("off")


async def test_close_closes_every_publisher_that_was_made() -> None:
    some = publishers()
    made = [recording(some, "a"), recording(some, "b")]
    await some.close()
    assert all(publisher.closed for publisher in made)


async def test_publish_returns_the_id_and_passes_id_and_headers_on(home: Publishers) -> None:
    assert await publish("a", MESSAGE) == "new id"
    assert await publish("a", MESSAGE, message_id="mine", headers={"h": 1}) == "mine"
    assert recording(home).published == [("a", MESSAGE, None, None), ("a", MESSAGE, "mine", {"h": 1})]


async def test_publish_on_a_loop_with_publishers_of_its_own_uses_those(home: Publishers) -> None:
    async def elsewhere() -> tuple[RecordingPublisher, asyncio.AbstractEventLoop]:
        own = publishers()
        install(own)
        try:
            await publish("a", MESSAGE)
        finally:
            uninstall(own)
        return recording(own), asyncio.get_running_loop()

    publisher, loop = await asyncio.to_thread(asyncio.run, elsewhere())
    assert publisher.loops == [loop]
    assert recording(home).published == []


async def test_publishers_of_a_loop_that_is_not_home_are_used_on_no_other_loop(home: Publishers) -> None:
    async def elsewhere() -> RecordingPublisher:
        own = publishers()
        install(own)
        try:
            await asyncio.to_thread(asyncio.run, publish("a", MESSAGE))
        finally:
            uninstall(own)
        return recording(own)

    publisher = await asyncio.to_thread(asyncio.run, elsewhere())
    assert publisher.published == []
    assert recording(home).loops == [home.loop]


async def test_publish_on_any_other_loop_uses_those_of_the_home_loop(home: Publishers) -> None:
    assert await asyncio.to_thread(asyncio.run, publish("a", MESSAGE, message_id="mine")) == "mine"
    assert recording(home).loops == [home.loop]


async def test_an_error_reaches_the_other_loop_as_it_is(home: Publishers) -> None:
    recording(home).error = error = PublishError("down", message_id="mine", may_have_landed=True)
    with pytest.raises(PublishError) as caught:
        await asyncio.to_thread(asyncio.run, publish("a", MESSAGE))
    assert caught.value is error


@pytest.mark.parametrize(("queue", "error"), [("c", UnknownQueueError), ("off", PublisherDisabledError)])
async def test_a_wrong_queue_is_the_same_error_on_every_loop_and_thread(
    home: Publishers, queue: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await publish(queue, MESSAGE)
    with pytest.raises(error):
        await asyncio.to_thread(asyncio.run, publish(queue, MESSAGE))
    with pytest.raises(error):
        await asyncio.to_thread(publish_from_thread, queue, MESSAGE)


async def test_code_that_can_not_await_publishes_from_its_thread(home: Publishers) -> None:
    assert await asyncio.to_thread(publish_from_thread, "a", MESSAGE, message_id="mine", headers={"h": 1}) == "mine"
    assert recording(home).published == [("a", MESSAGE, "mine", {"h": 1})]
    assert recording(home).loops == [home.loop]


async def test_publish_from_thread_refuses_to_block_a_loop_and_says_what_to_write(home: Publishers) -> None:
    with pytest.raises(RuntimeError, match=r"would block this event loop: use 'await publish\(\.\.\.\)'"):
        publish_from_thread("a", MESSAGE)
    assert recording(home).published == []


async def test_publish_without_a_running_service_says_so() -> None:
    with pytest.raises(RuntimeError, match="needs the running service"):
        await publish("a", MESSAGE)
    with pytest.raises(RuntimeError, match="needs the running service"):
        await asyncio.to_thread(publish_from_thread, "a", MESSAGE)


async def test_uninstall_ends_it_and_may_be_called_twice(home: Publishers) -> None:
    uninstall(home)
    uninstall(home)
    with pytest.raises(RuntimeError, match="needs the running service"):
        await publish("a", MESSAGE)
