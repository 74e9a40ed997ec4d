"""Handlers are anybody's code: whatever comes out of one, or of what is around it, is a failure of that message.

A service with its default settings, on the embedded provider. What raises does so once, so that the message must be
handled at its second attempt; and nothing else of the queue may be gone by then.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Self

import pytest
from pydantic import BaseModel, field_validator

from app.queue.config import QueuesConfig
from app.queue.handling import current_delivery
from app.queue.interfaces import Delivery, Message, Place
from app.queue.messages.message import place_name
from app.queue.messages.outcome import Action, Outcome
from app.queue.middleware import HandleNext, per_loop
from app.queue.processor import MessageProcessor
from app.queue.providers.memory.broker import broker
from app.queue.publishing import publish
from app.queue.run.service import QueueService
from app.queue.setup import build_service
from core_tests.tools.places import dlq_name
from core_tests.tools.waiting import eventually


class OwnError(BaseException):
    """No Exception."""


class LikeStopIteration(StopIteration):
    """Python's own machinery takes it for the end of something, too."""


class UnreadableError(Exception):
    """Raises when it is read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class DeadlyError(Exception):
    """Wants to end the process when it is read."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class MutilatedError(Exception):
    """Can't be raised a second time in the usual way."""

    def with_traceback(self, _: Any) -> Self:
        raise TypeError("no traceback")


KINDS: dict[str, Callable[[], BaseException]] = {
    "RuntimeError": lambda: RuntimeError("no"),
    "StopIteration": StopIteration,
    "a StopIteration of its own": LikeStopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "SystemExit": lambda: SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "CancelledError": asyncio.CancelledError,
    "CancelledError of a thread": concurrent.futures.CancelledError,
    "TimeoutError": TimeoutError,
    "a group of exceptions": lambda: ExceptionGroup("some", [ValueError("a"), StopIteration()]),
    "a group of others": lambda: BaseExceptionGroup("some", [SystemExit(1), asyncio.CancelledError(), ValueError()]),
    "a BaseException of its own": OwnError,
    "one that can't be read": UnreadableError,
    "one that ends the process when read": DeadlyError,
    "one that can't be raised again": MutilatedError,
}


class Once:
    """Raises in each place once."""

    def __init__(self, make: Callable[[], BaseException]) -> None:
        self.make = make
        self.raised: set[str] = set()

    def __call__(self, where: str) -> None:
        if where not in self.raised:
            self.raised.add(where)
            raise self.make()


class Picky(BaseModel):
    """Its validator raises, and not what it may: pydantic makes ValueError and AssertionError an invalid payload."""

    once: ClassVar[Once]
    type: str

    @field_validator("type")
    @classmethod
    def check(cls, value: str) -> str:
        """Raise, once."""
        cls.once(f"{value}'s validator")
        return value


class Handler:
    """Raises in every place in which it can, one type of message each."""

    def __init__(self, once: Once) -> None:
        self.once = once
        self.attempts: defaultdict[str, list[int]] = defaultdict(list)
        self.handled: set[str] = set()

    async def __aenter__(self) -> Self:
        self.once("__aenter__")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.once("__aexit__")

    def _begin(self, where: str) -> None:
        self.attempts[where].append(current_delivery().attempt)

    async def coroutine(self, message: dict[str, Any]) -> None:
        """Raises in the task of its delivery."""
        self._begin("coroutine")
        await asyncio.sleep(0.01)
        self.once("coroutine")
        self.handled.add("coroutine")

    def plain(self, message: dict[str, Any]) -> None:
        """Raises in a thread."""
        self._begin("plain")
        self.once("plain")
        self.handled.add("plain")

    async def grouped(self, message: dict[str, Any]) -> None:
        """Raises in a task of its own, and waits for that."""
        self._begin("grouped")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._task())
        self.handled.add("grouped")

    async def _task(self) -> None:
        await asyncio.sleep(0.01)
        self.once("grouped")

    async def validated(self, message: Picky) -> None:
        """Has a model that raises."""
        self._begin("validated")
        self.handled.add("validated")

    def plain_validated(self, message: Picky) -> None:
        """The same in a thread."""
        self._begin("plain_validated")
        self.handled.add("plain_validated")

    async def around(self, message: dict[str, Any]) -> None:
        """Is called by a middleware that raises afterwards."""
        self._begin("around")
        self.handled.add("around")


class Around:
    """A middleware that raises where it is entered, around a message, around one that is not run, and in the end."""

    def __init__(self, once: Once) -> None:
        self.once = once

    async def __aenter__(self) -> Self:
        self.once("the middleware's __aenter__")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.once("the middleware's __aexit__")

    async def __call__(self, delivery: Delivery, call_next: HandleNext) -> Outcome:
        """Around one delivery."""
        outcome = await call_next(delivery)
        if outcome.action is Action.QUARANTINE:
            self.once("the middleware around what is not run")
        if b'"around"' in delivery.message.body:
            self.once("the middleware")
        return outcome


@asynccontextmanager
async def service(handler: Any, *middleware: Any, **drain: Any) -> AsyncIterator[QueueService]:
    """A service with its default settings."""
    dispatcher = MessageProcessor()
    dispatcher.register_handler("q", handler)
    config = QueuesConfig.model_validate({"queues": [{"name": "q", "type": "memory"}], "drain": drain})
    made = build_service(config, dispatcher, middleware)
    await made.start()
    try:
        await eventually(lambda: made.readiness() == "ready", "the service is ready")
        yield made
    finally:
        began = time.monotonic()
        assert await made.stop() == []
        assert time.monotonic() - began < 5


STYLES = {"coroutine", "plain", "grouped", "validated", "plain_validated", "around"}


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_is_raised_is_a_failure_of_its_message(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    once = Picky.once = Once(KINDS[kind])
    handler = Handler(once)
    async with service(handler, per_loop(lambda: Around(once))) as made:
        for style in STYLES:
            await publish("q", {"type": style})
        # As a process leaves it that died with it in flight: it is not run at once, and the middleware sees that.
        broker.put("q", Message(b'{"type": "coroutine"}', "abandoned"), holder="a process that is dead")
        await eventually(lambda: handler.handled == STYLES, "all are handled")
        await eventually(lambda: len(handler.attempts["coroutine"]) == 3, "so is the abandoned one")
        assert made.health().status == "healthy"
    seen = {style: attempts for style, attempts in handler.attempts.items() if style != "coroutine"}
    twice, second = [1, 2], [2]
    grouped = [1] if kind == "CancelledError" else twice  # a TaskGroup takes no notice of a task that was cancelled
    expected = {"plain": twice, "grouped": grouped, "around": twice, "validated": second, "plain_validated": second}
    assert seen == expected
    assert sorted(handler.attempts["coroutine"]) == [1, 1, 2]
    assert broker.depth("q") == broker.depth(dlq_name("q")) == broker.depth(place_name("q", Place.QUARANTINE)) == 0
    places = {"coroutine", "plain", "grouped", "validated's validator", "plain_validated's validator"}
    places |= {"__aenter__", "__aexit__", "the middleware", "the middleware's __aenter__", "the middleware's __aexit__"}
    assert once.raised == places | {"the middleware around what is not run"}
    assert caplog.text.count("(attempt 1, again in 1 s)") == 4 + len(grouped)
    assert "__aexit__ failed" in caplog.text
    assert "the __aexit__ of a middleware failed" in caplog.text
    assert "died" not in caplog.text


class Cancelling:
    """Cancels itself, which nobody else does before the drain's deadline."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, int]] = []

    async def waiting(self, message: dict[str, Any]) -> None:
        """Is cancelled where it waits."""
        self._cancel("waiting")
        await asyncio.sleep(0.01)

    async def returning(self, message: dict[str, Any]) -> None:
        """Would be cancelled where it waits, and does not wait."""
        self._cancel("returning")

    def _cancel(self, style: str) -> None:
        self.attempts.append((style, current_delivery().attempt))
        task = asyncio.current_task()
        if current_delivery().attempt == 1 and task is not None:
            task.cancel()


async def test_a_handler_that_cancels_itself_has_failed() -> None:
    handler = Cancelling()
    async with service(handler):
        await publish("q", {"type": "waiting"})
        await publish("q", {"type": "returning"})
        await eventually(lambda: len(handler.attempts) == 4, "both are tried again")
    assert sorted(handler.attempts) == [("returning", 1), ("returning", 2), ("waiting", 1), ("waiting", 2)]


class Stopping:
    """Stops the event loop of its queue."""

    def __init__(self) -> None:
        self.handled: list[str] = []

    async def stop(self, message: dict[str, Any]) -> None:
        """All that runs on the loop stands still then."""
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.01)
        self.handled.append("stop")


async def test_a_handler_that_stops_its_loop_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    handler = Stopping()
    async with service(handler) as made:
        await publish("q", {"type": "stop"})
        await eventually(lambda: handler.handled == ["stop"], "it is handled")
        assert made.health().status == "healthy"
    assert "stopped before Future completed" in caplog.text


class Leaving:
    """Starts a task that wants to end the process, and waits for it no longer than need be."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []

    async def leave(self, message: dict[str, Any]) -> None:
        """The task ends after this message is done."""
        self.tasks.append(asyncio.create_task(self._exit()))

    async def _exit(self) -> None:
        raise SystemExit(3)


async def test_a_task_that_nobody_waits_for_ends_alone(caplog: pytest.LogCaptureFixture) -> None:
    handler = Leaving()

    def started(count: int) -> bool:
        return len(handler.tasks) == count

    async with service(handler) as made:
        for count in (1, 2, 3):
            await publish("q", {"type": "leave"})
            await eventually(partial(started, count), "it is handled")
        assert made.health().status == "healthy"
    assert [type(task.exception()) for task in handler.tasks] == [SystemExit] * 3
    assert caplog.text.count("a handler ended the event loop of consumers-1; it goes on") == 3
    assert broker.depth("q") == broker.depth(dlq_name("q")) == 0


async def test_a_middleware_that_dead_letters_without_a_reason_has_failed() -> None:
    outcomes = [Outcome(Action.DEAD_LETTER)]

    async def wrong(delivery: Delivery, call_next: HandleNext) -> Outcome:
        outcome = await call_next(delivery)
        return outcomes.pop() if outcomes else outcome

    handler = Handler(Once(RuntimeError))
    handler.once.raised |= {"coroutine", "__aenter__", "__aexit__"}
    async with service(handler, wrong):
        await publish("q", {"type": "coroutine"})
        await eventually(lambda: handler.attempts["coroutine"] == [1, 2], "it is tried again")
    assert broker.depth(dlq_name("q")) == 0
