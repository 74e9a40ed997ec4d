"""The whole service on the embedded provider: consumers, retries, DLQ, passes, pause, drain."""

from __future__ import annotations

import asyncio

from app.queue.providers.memory.broker import broker
from app.queue.publishing import publish
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name, parked_name
from core_tests.tools.waiting import eventually


async def test_a_published_message_is_handled() -> None:
    handler = UserHandler()
    async with running((queue_config(), handler)):
        message_id = await publish("user_channel", audio())
        await eventually(lambda: len(handler.handled) == 1, "the message is handled")
    assert handler.attempts == [(message_id, 1)]
    assert handler.handled[0].user_id == 123


async def test_a_message_that_always_fails_is_tried_max_attempts_times_and_dead_lettered() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    handler = UserHandler(fail)
    async with running((queue_config(), handler)):
        message_id = await publish("user_channel", audio(), headers={"traceparent": "00-abc"})
        await eventually(lambda: broker.depth(dlq_name("user_channel")) == 1, "it is dead-lettered")
    assert handler.attempts == [(message_id, 1), (message_id, 2), (message_id, 3)]
    (dead,) = broker.messages(dlq_name("user_channel"))
    assert dead.message_id == message_id
    assert dead.headers["dlq-reason"] == "exhausted"
    assert dead.headers["dlq-attempts"] == 3
    assert dead.headers["dlq-exception-type"] == "builtins.RuntimeError"
    assert "no" in dead.headers["dlq-traceback"]
    assert dead.headers["traceparent"] == "00-abc"


async def test_dead_letters_go_back_and_are_parked_when_they_keep_failing() -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    handler = UserHandler(fail)
    config = queue_config(dlq={"retry_interval": 0.3, "max_retries": 1})
    async with running((config, handler)):
        await publish("user_channel", audio())
        await eventually(lambda: broker.depth(parked_name("user_channel")) == 1, "it is parked")
    assert [attempt for _, attempt in handler.attempts] == [1, 2, 3, 1, 2, 3]
    assert broker.depth(dlq_name("user_channel")) == 0


async def test_everything_failing_pauses_and_then_resumes_with_nothing_dead_lettered() -> None:
    broken = True

    def fail(_: object) -> None:
        if broken:
            raise RuntimeError("the database is down")

    handler = UserHandler(fail)
    config = queue_config(pause={"after": 5, "initial_delay": 0.1, "max_delay": 0.2}, retry={"initial_delay": 0.1})
    async with running((config, handler)) as service:
        for number in range(50):
            await publish("user_channel", audio(number))
        await eventually(lambda: service.health().queues["user_channel"].consumer == "paused", "it pauses")
        assert service.health().status == "healthy"
        await asyncio.sleep(1.0)
        broken = False
        await eventually(lambda: len(handler.handled) == 50, "all are handled afterwards")
        assert service.health().queues["user_channel"].consumer == "running"
    assert broker.depth(dlq_name("user_channel")) == 0
