"""Loops, threads, handler contexts, middleware, and the drain, on the embedded provider."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

import pytest

from app.queue.config import QueuesConfig
from app.queue.errors import ConfigError, QueueError
from app.queue.handling import current_delivery
from app.queue.interfaces import Delivery, Message
from app.queue.messages.outcome import DONE, Outcome
from app.queue.middleware import HandleNext, PublishNext
from app.queue.processor import MessageProcessor
from app.queue.providers.memory.broker import broker
from app.queue.publishing import publish, publish_from_thread
from app.queue.run import threads
from app.queue.setup import build_service
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name
from core_tests.tools.waiting import eventually


class Recorder:
    """Notes on which thread and loop things happen."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def note(self, message: dict[str, Any]) -> None:
        self.seen.append((threading.current_thread().name, id(asyncio.get_running_loop())))


async def test_consumers_run_on_at_most_consumer_threads_loops_beside_that_of_http() -> None:
    recorder = Recorder()
    queues = [(queue_config(f"queue_{number}"), recorder) for number in range(5)]
    async with running(*queues, consumer_threads=2):
        for number in range(5):
            await publish(f"queue_{number}", {"type": "note"})
        await eventually(lambda: len(recorder.seen) == 5, "all are handled")
    assert len({loop for _, loop in recorder.seen}) == 2
    assert id(asyncio.get_running_loop()) not in {loop for _, loop in recorder.seen}


async def test_a_handler_that_blocks_its_loop_delays_neither_http_nor_other_threads_and_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "BLOCKED_AFTER", 0.5)
    released = threading.Event()

    class Blocking:
        async def block(self, message: dict[str, Any]) -> None:
            released.wait(30)

    recorder = Recorder()
    try:
        async with running((queue_config("bad"), Blocking()), (queue_config("good"), recorder)) as service:
            await publish("bad", {"type": "block"})
            await publish("good", {"type": "note"})
            await eventually(lambda: len(recorder.seen) == 1, "the other queue goes on")
            await eventually(lambda: "released.wait(30)" in caplog.text, "the log shows the line that blocks")
            health = service.health().queues
            assert health["good"].status == "healthy"
            assert health["bad"].consumer == "down"
            assert "blocked its event loop" in str(health["bad"].detail)
            released.set()
    finally:
        released.set()


async def test_a_plain_def_handler_runs_in_a_thread_and_can_publish() -> None:
    handler = UserHandler()

    class Plain:
        def forward(self, message: dict[str, Any]) -> None:
            assert threading.current_thread() is not threading.main_thread()
            publish_from_thread("user_channel", audio(), message_id=f"again {current_delivery().message_id}")

    async with running((queue_config(), handler), (queue_config("plain"), Plain())):
        message_id = await publish("plain", {"type": "forward"})
        await eventually(lambda: len(handler.handled) == 1, "it is forwarded")
    assert handler.attempts == [(f"again {message_id}", 1)]


async def test_a_handler_publishes_from_its_own_loop() -> None:
    handler = UserHandler()

    class Forwarding:
        async def forward(self, message: dict[str, Any]) -> None:
            await publish("user_channel", audio())

    async with running((queue_config(), handler), (queue_config("forwarding"), Forwarding())):
        await publish("forwarding", {"type": "forward"})
        await eventually(lambda: len(handler.handled) == 1, "it is forwarded")


async def test_publish_works_from_a_loop_that_the_service_does_not_know() -> None:
    handler = UserHandler()
    async with running((queue_config(), handler)):
        message_id = await asyncio.to_thread(lambda: asyncio.run(publish("user_channel", audio())))
        await eventually(lambda: handler.attempts == [(message_id, 1)], "it is handled")


async def test_publish_says_which_queues_there_are_and_that_the_service_must_run() -> None:
    async with running((queue_config(), UserHandler())):
        with pytest.raises(QueueError, match=r"queues\.yaml has: user_channel"):
            await publish("typo", audio())
    with pytest.raises(RuntimeError, match="lifespan_handler"):
        await publish("user_channel", audio())


async def test_a_handler_that_is_a_context_manager_is_opened_on_its_loop_and_closed_after_the_drain() -> None:
    events: list[str] = []

    class Pooled:
        loop: asyncio.AbstractEventLoop

        async def __aenter__(self) -> Self:
            self.loop = asyncio.get_running_loop()
            events.append("opened")
            return self

        async def __aexit__(self, *_: object) -> None:
            assert self.loop is asyncio.get_running_loop()
            events.append("closed")

        async def use(self, message: dict[str, Any]) -> None:
            assert self.loop is asyncio.get_running_loop()
            events.append("begun")
            await asyncio.sleep(0.5)
            events.append("done")

    async with running((queue_config("pooled"), Pooled())):
        await publish("pooled", {"type": "use"})
        await eventually(lambda: "begun" in events, "it runs")
    assert events == ["opened", "begun", "done", "closed"]


async def test_a_handler_whose_context_fails_at_first_is_opened_later() -> None:
    class Late:
        tries = 0

        async def __aenter__(self) -> Self:
            Late.tries += 1
            if Late.tries < 3:
                raise ConnectionError("the database is not up yet")
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def use(self, message: dict[str, Any]) -> None:
            pass

    async with running((queue_config("late"), Late())) as service:
        assert service.health().queues["late"].consumer == "running"
    assert Late.tries == 3


async def test_the_drain_finishes_what_runs_and_puts_back_what_has_not_begun() -> None:
    handler = UserHandler(lambda _: asyncio.sleep(0.5))
    async with running((queue_config(concurrency=2, prefetch=10), handler)):
        for number in range(10):
            await publish("user_channel", audio(number))
        await eventually(lambda: len(handler.attempts) == 2, "two run")
    assert len(handler.handled) == 2
    assert broker.depth("user_channel") == 8


async def test_a_handler_that_outlasts_the_drain_leaves_its_message_in_the_queue() -> None:
    handler = UserHandler(lambda _: asyncio.sleep(60))
    async with running((queue_config(), handler), drain={"delay": 0, "timeout": 0.5}):
        await publish("user_channel", audio())
        await eventually(lambda: len(handler.attempts) == 1, "it runs")
    assert handler.handled == []
    assert broker.depth("user_channel") == 1


async def test_a_handler_that_takes_too_long_is_cancelled_and_retried() -> None:
    handler = UserHandler(lambda _: asyncio.sleep(60))
    async with running((queue_config(handler_timeout=0.1), handler)):
        await publish("user_channel", audio())
        await eventually(lambda: broker.depth(dlq_name("user_channel")) == 1, "it is dead-lettered")
    assert len(handler.attempts) == 3
    assert broker.messages(dlq_name("user_channel"))[0].headers["dlq-exception-type"] == "builtins.TimeoutError"


async def test_sys_exit_in_a_handler_is_a_failure_of_that_message() -> None:
    handler = UserHandler(lambda message: exit(1) if message.user_id == 13 else None)  # noqa: PLR1722
    async with running((queue_config(), handler)):
        await publish("user_channel", audio(13))
        await eventually(lambda: broker.depth(dlq_name("user_channel")) == 1, "it is dead-lettered")
        await publish("user_channel", audio(14))
        await eventually(lambda: len(handler.handled) == 1, "the next one is handled")


async def test_middleware_goes_around_handling_and_publishing_in_its_order() -> None:
    calls: list[str] = []

    async def outer(delivery: Delivery, call_next: HandleNext) -> Outcome:
        calls.append("outer in")
        outcome = await call_next(delivery)
        calls.append(f"outer out {outcome.action} {outcome.error!r}")
        return outcome

    async def deduplicate(delivery: Delivery, call_next: HandleNext) -> Outcome:
        calls.append("inner")
        return DONE if delivery.message.message_id == "seen" else await call_next(delivery)

    async def stamp(queue: str, message: Message, call_next: PublishNext) -> None:
        await call_next(queue, Message(message.body, message.message_id, {**message.headers, "stamp": queue}))

    class Handler:
        async def look(self, message: dict[str, Any]) -> None:
            calls.append(f"handler {current_delivery().headers['stamp']}")

    dispatcher = MessageProcessor()
    dispatcher.register_handler("q", Handler())
    config = QueuesConfig.model_validate({"queues": [queue_config("q")], "drain": {"delay": 0}})
    service = build_service(config, dispatcher, [outer, deduplicate], [stamp])
    await service.start()
    await publish("q", {"type": "look"}, message_id="seen")
    await publish("q", {"type": "look"}, message_id="new")
    await eventually(lambda: len(calls) == 7, "both are through")
    await service.stop()
    assert calls[:3] == ["outer in", "inner", "outer out ack None"]
    assert calls[3:] == ["outer in", "inner", "handler q", "outer out ack None"]


async def test_a_middleware_that_raises_or_forgets_its_return_fails_the_message_and_stops_nothing() -> None:
    async def broken(delivery: Delivery, call_next: HandleNext) -> Outcome:
        outcome = await call_next(delivery)
        if delivery.message.message_id == "raises":
            raise ValueError("the exporter is away")
        return None if delivery.message.message_id == "forgets" else outcome  # type: ignore[return-value]

    handler = UserHandler()
    dispatcher = MessageProcessor()
    dispatcher.register_handler("user_channel", handler)
    config = QueuesConfig.model_validate({"queues": [queue_config()], "drain": {"delay": 0}})
    service = build_service(config, dispatcher, [broken])
    await service.start()
    for message_id in ("raises", "forgets", "good"):
        await publish("user_channel", audio(), message_id=message_id)
    await eventually(lambda: broker.depth(dlq_name("user_channel")) == 2, "both are dead-lettered")
    await service.stop()
    dead = {message.message_id: message.headers for message in broker.messages(dlq_name("user_channel"))}
    assert dead["raises"]["dlq-exception-message"] == "the exporter is away"
    assert "must return the outcome" in dead["forgets"]["dlq-exception-message"]
    assert ("good", 1) in handler.attempts


async def test_a_consumed_queue_without_a_handler_stops_the_start() -> None:
    config = QueuesConfig.model_validate({"queues": [queue_config("lonely")]})
    with pytest.raises(ConfigError, match="queue 'lonely' has enable_consumer, but no handler"):
        build_service(config, MessageProcessor())


async def test_a_role_of_api_consumes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_ROLE", "api")
    async with running((queue_config(), None)) as service:
        await publish("user_channel", audio())
        assert service.health().queues["user_channel"].consumer == "disabled"
        assert broker.depth("user_channel") == 1


async def test_one_bad_message_among_good_ones_pauses_nothing() -> None:
    def fail_on_13(message: Any) -> None:
        if message.user_id == 13:
            raise RuntimeError("unlucky")

    handler = UserHandler(fail_on_13)
    config = queue_config(pause={"after": 2}, retry={"max_attempts": 10, "initial_delay": 0.01, "multiplier": 1})
    async with running((config, handler)) as service:
        await publish("user_channel", audio(13))
        await eventually(lambda: broker.depth(dlq_name("user_channel")) == 1, "it is dead-lettered")
        assert service.health().queues["user_channel"].consumer == "running"
