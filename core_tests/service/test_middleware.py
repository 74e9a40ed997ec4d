"""Middleware that is opened on each event loop, and closed in the drain, on the embedded provider."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import pytest

from app.queue.config import QueuesConfig
from app.queue.errors import ConfigError, PublishError
from app.queue.interfaces import Delivery, Message
from app.queue.messages.outcome import Outcome
from app.queue.middleware import HandleNext, PublishNext, per_loop
from app.queue.processor import MessageProcessor
from app.queue.publishing import publish
from app.queue.run import loop_middleware, sides
from app.queue.run.service import QueueService
from app.queue.setup import build_service
from core_tests.tools.example import queue_config
from core_tests.tools.waiting import eventually

Loop = asyncio.AbstractEventLoop


class Pool:
    """What is opened on one loop, and may be used on no other. `events` is shared by all of a test."""

    def __init__(self, events: list[str], failures: list[Exception] | None = None) -> None:
        self.events = events
        self.failures = failures or []
        self.loop: Loop | None = None
        self.task: asyncio.Task[Any] | None = None
        self.used = 0

    async def __aenter__(self) -> Self:
        if self.failures:
            raise self.failures.pop()
        self.loop, self.task = asyncio.get_running_loop(), asyncio.current_task()
        self.events.append("opened")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert (self.loop, self.task) == (asyncio.get_running_loop(), asyncio.current_task())
        self.events.append(f"closed after {self.used}" if kind is None else f"closed by {kind.__name__}")

    def use(self) -> None:
        """To be called on the loop that opened it, while it is open."""
        assert self.loop is asyncio.get_running_loop()
        self.used += 1


class AroundHandling(Pool):
    """A middleware of deliveries."""

    async def __call__(self, delivery: Delivery, call_next: HandleNext) -> Outcome:
        """Around one delivery."""
        self.use()
        return await call_next(delivery)


class AroundPublishing(Pool):
    """A middleware of publishes."""

    async def __call__(self, queue: str, message: Message, call_next: PublishNext) -> None:
        """Around one publish."""
        self.use()
        await call_next(queue, message)


class Handler:
    """Is entered, too, and publishes while it is left."""

    def __init__(self, events: list[str], *, forwards: bool = False) -> None:
        self.events = events
        self.forwards = forwards

    async def __aenter__(self) -> Self:
        self.events.append("handler opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.events.append("handler closed")

    async def work(self, message: dict[str, Any]) -> None:
        """Publishes on the loop of the consumer, if it is to."""
        if self.forwards:
            await publish("sink", {"type": "work"})
        await asyncio.sleep(0.2)
        self.events.append("done")


@asynccontextmanager
async def service(
    handlers: dict[str, Any], handle: Sequence[Any] = (), publishing: Sequence[Any] = (), threads: int = 4
) -> AsyncIterator[QueueService]:
    """A service for these handlers, and a queue `sink` that nobody reads. Does not wait until it is ready."""
    dispatcher = MessageProcessor()
    for name, handler in handlers.items():
        dispatcher.register_handler(name, handler)
    queues = [*map(queue_config, handlers), queue_config("sink", enable_consumer=False)]
    config = QueuesConfig.model_validate({"queues": queues, "consumer_threads": threads, "drain": {"delay": 0}})
    running = build_service(config, dispatcher, handle, publishing)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def ready(running: QueueService) -> None:
    await eventually(lambda: running.readiness() == "ready", "the service is ready")


async def test_it_is_open_from_before_the_first_message_until_the_last_is_done() -> None:
    events: list[str] = []
    async with service({"a": Handler(events)}, [per_loop(partial(AroundHandling, events))]) as running:
        await publish("a", {"type": "work"})
        await ready(running)
        await eventually(lambda: "handler opened" in events, "the handler is open")
    assert events == ["opened", "handler opened", "done", "handler closed", "closed after 1"]


async def test_each_loop_has_one_of_its_own_for_all_of_its_queues_and_each_call_gets_that_of_its_loop() -> None:
    events: list[str] = []
    made: list[AroundHandling | AroundPublishing] = []

    def make(kind: Callable[[list[str]], Any]) -> Any:
        made.append(kind(events))
        return made[-1]

    handlers = {name: Handler([], forwards=True) for name in "abc"}
    handling, publishing = (per_loop(partial(make, kind)) for kind in (AroundHandling, AroundPublishing))
    async with service(handlers, [handling], [publishing], threads=2) as running:
        await ready(running)
        for name in "abc" * 10:
            await publish(name, {"type": "work"})
        await eventually(lambda: sum(pool.used for pool in made) == 90, "all are handled, and publish")
    used = {(type(pool), pool.loop): pool.used for pool in made}
    assert len(made) == len(used) == 5, "one of each for the two loops of consumers, and one to publish from HTTP"
    assert used[AroundPublishing, asyncio.get_running_loop()] == 30
    assert sorted(count for (kind, _), count in used.items() if kind is AroundHandling) == [10, 20]
    assert sorted(count for (kind, _), count in used.items() if kind is AroundPublishing) == [10, 20, 30]
    assert sorted(events) == sorted(["opened"] * 5 + [f"closed after {count}" for count in used.values()])


async def test_a_function_that_yields_the_middleware_does_as_well_as_a_class() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Callable[[Delivery, HandleNext], Any]]:
        async with AroundHandling(events) as middleware:
            yield middleware

    async with service({"a": Handler(events)}, [per_loop(opened)]) as running:
        await ready(running)
        await publish("a", {"type": "work"})
        await eventually(lambda: "done" in events, "it is handled")
    assert "closed after 1" in events


async def test_one_that_does_not_open_is_tried_again_and_named_by_health_and_nothing_is_handled_meanwhile() -> None:
    events: list[str] = []
    down = True

    class Deduplicated(AroundHandling):
        async def __aenter__(self) -> Self:
            if down:
                raise ConnectionError("the database is not up yet")
            return await super().__aenter__()

    handler = Handler(events)
    async with service({"a": handler}, [per_loop(lambda: Deduplicated(events))]) as running:
        await publish("sink", {"type": "work"})
        broken = "middleware <lambda>: ConnectionError; the log says more"
        await eventually(lambda: running.health().queues["a"].detail == broken, "health says why")
        health = running.health().queues["a"]
        assert (health.status, health.consumer) == ("unhealthy", "down")
        assert events == []
        down = False
        await publish("a", {"type": "work"})
        await eventually(lambda: "done" in events, "it is handled")
        await ready(running)


async def test_a_publish_waits_for_middleware_that_is_about_to_open_and_is_an_error_if_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    failures: list[Exception] = [OSError("no route")]
    async with service({}, [], [per_loop(lambda: AroundPublishing(events, failures))]):
        await publish("sink", {"type": "work"})
    assert events == ["opened", "closed after 1"]
    monkeypatch.setattr(loop_middleware, "OPEN_TIMEOUT", 0.1)
    failures = [OSError("no route") for _ in range(1000)]
    async with service({}, [], [per_loop(lambda: AroundPublishing(events, failures))]) as running:
        with pytest.raises(PublishError, match="the middleware <lambda> is not open yet, so nothing was sent") as error:
            await publish("sink", {"type": "work"})
        assert error.value.message_id
        assert not error.value.may_have_landed
        health = running.health().queues["sink"]
        assert (health.publisher, health.detail) == ("down", "middleware <lambda>: OSError; the log says more")


@pytest.mark.parametrize("method", ["__aenter__", "__aexit__"])
async def test_one_that_never_opens_or_closes_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def hang(self: Pool, *_: object) -> None:
        events.append("hangs")
        await asyncio.Event().wait()

    events: list[str] = []
    monkeypatch.setattr(sides, "CLOSE_TIMEOUT", 0.3 if method == "__aexit__" else 60.0)
    handling, publishing = type("H", (AroundHandling,), {method: hang}), type("P", (AroundPublishing,), {method: hang})
    made = [per_loop(partial(kind, [])) for kind in (handling, publishing)]
    async with service({"a": Handler([])}, made[:1], made[1:]):
        await asyncio.sleep(0.3)
        began = time.monotonic()
    assert "hangs" in events
    assert time.monotonic() - began < 5


async def test_one_that_fails_to_close_is_logged_and_the_rest_closes(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []

    class Failing(AroundHandling):
        async def __aexit__(self, *_: object) -> None:
            raise OSError("already gone")

    kinds = [per_loop(partial(AroundHandling, events)), per_loop(partial(Failing, events))]
    async with service({"a": Handler([])}, kinds) as running:
        await ready(running)
    assert "the __aexit__ of a middleware failed" in caplog.text
    assert events == ["opened", "opened", "closed by OSError"]


class Forgetful(AroundHandling):
    async def __aenter__(self) -> Any:
        await super().__aenter__()


async def test_one_that_forgets_to_return_itself_is_told_so_and_closed_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events: list[str] = []
    async with service({"a": Handler([])}, [per_loop(partial(Forgetful, events))]) as running:
        said = "middleware Forgetful: TypeError; the log says more"
        await eventually(lambda: running.health().queues["a"].detail == said, "health says which one it is")
    assert "its __aenter__ must return the middleware: end it with 'return self'" in caplog.text
    assert events.count("opened") == events.count("closed by TypeError") > 0


@pytest.mark.parametrize(
    ("middleware", "said"),
    [
        (AroundHandling, r"AroundHandling has to be made once for each event loop: write per_loop\(AroundHandling\)"),
        (AroundHandling([]), r"or per_loop\(lambda: AroundHandling\(\.\.\.\)\)"),
        ("timed", "a middleware must be an async function, not 'timed'"),
    ],
)
@pytest.mark.parametrize("side", ["handle", "publishing"])
async def test_one_that_belongs_to_no_loop_stops_the_start(middleware: Any, said: str, side: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_service(
            QueuesConfig.model_validate({"queues": [queue_config("a", enable_consumer=False)]}),
            MessageProcessor(),
            [middleware] if side == "handle" else [],
            [] if side == "handle" else [middleware],
        )
