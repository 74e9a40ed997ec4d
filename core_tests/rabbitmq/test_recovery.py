"""Retries, dead letters, passes and parking on a real broker, for both types of queue."""

from __future__ import annotations

import asyncio
import gc
import warnings
from functools import partial
from typing import Any

import pytest

from app.queue.dead_letters import DeadLetterPasses
from app.queue.errors import PublishError
from app.queue.handling import Reject
from app.queue.interfaces import Delivery, Place, QueueProcessor
from app.queue.messages.message import retry_name
from app.queue.publishing import publish
from app.queue.setup import get_dead_letters, get_processor, get_publisher
from core_tests.contract.claims import address, at
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name, parked_name
from core_tests.tools.proxy import Proxy
from core_tests.tools.rabbitmq_node import RabbitMQNode
from core_tests.tools.rabbitmq_queues import depth, drain
from core_tests.tools.rabbitmq_queues import publish as publish_foreign
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


@pytest.fixture(params=["quorum", "classic"])
def config(request: pytest.FixtureRequest, rabbitmq_url: str, queue_name: str) -> Any:
    return queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, queue_type=request.param)


def fail(_: object) -> None:
    raise RuntimeError("it never works")


async def test_a_message_that_fails_twice_is_handled_at_the_third_attempt(config: Any, rabbitmq_url: str) -> None:
    failures = iter((True, True, False))

    def flaky(_: object) -> None:
        if next(failures):
            raise RuntimeError("not yet")

    handler = UserHandler(flaky)
    async with running((config, handler)):
        message_id = await publish(config.name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
        assert handler.attempts == [(message_id, 1), (message_id, 2), (message_id, 3)]
        await eventually(lambda: depth(rabbitmq_url, retry_name(config.name, 0.2)) == 0, "no wait queue holds it")
    assert depth(rabbitmq_url, config.name) == 0
    assert depth(rabbitmq_url, dlq_name(config.name)) == 0


async def test_an_exhausted_message_is_in_the_dlq_with_its_story(config: Any, rabbitmq_url: str) -> None:
    handler = UserHandler(fail)
    async with running((config, handler)):
        message_id = await publish(config.name, audio(), headers={"traceparent": "00-abc", "tenant": 7})
        await eventually(lambda: depth(rabbitmq_url, dlq_name(config.name)) == 1, "it is dead-lettered")
    ((properties, body),) = drain(rabbitmq_url, dlq_name(config.name))
    headers = properties.headers
    assert properties.message_id == message_id
    assert properties.delivery_mode == 2
    assert b"audio_data" in body
    assert headers["dlq-version"] == 1
    assert headers["dlq-reason"] == "exhausted"
    assert headers["dlq-queue"] == config.name
    assert headers["dlq-attempts"] == 3
    assert headers["dlq-exception-type"] == "builtins.RuntimeError"
    assert headers["dlq-exception-message"] == "it never works"
    assert "in fail" in headers["dlq-traceback"]
    assert headers["dlq-first-failed-at"] < headers["dlq-last-failed-at"]
    assert (headers["traceparent"], headers["tenant"]) == ("00-abc", 7)
    assert not [name for name in headers if name.startswith("x-") and name != "x-delivery-count"]


async def test_a_rejected_message_costs_no_retry(config: Any, rabbitmq_url: str) -> None:
    def reject(_: object) -> None:
        raise Reject("no such user")

    handler = UserHandler(reject)
    async with running((config, handler)):
        await publish(config.name, audio())
        await eventually(lambda: depth(rabbitmq_url, dlq_name(config.name)) == 1, "it is dead-lettered")
    assert len(handler.attempts) == 1
    ((properties, _),) = drain(rabbitmq_url, dlq_name(config.name))
    assert properties.headers["dlq-reason"] == "rejected"


async def test_a_pass_sends_back_what_may_succeed_and_parks_the_rest(config: Any, rabbitmq_url: str) -> None:
    handler = UserHandler(fail)
    async with running((config, handler)):
        message_id = await publish(config.name, audio())
        publish_foreign(rabbitmq_url, config.name, b"garbage")
        await eventually(lambda: depth(rabbitmq_url, dlq_name(config.name)) == 2, "both are dead-lettered")
    passes = DeadLetterPasses(config, get_dead_letters(config), get_processor(config))
    assert await passes.run_once() == (1, 1)
    assert depth(rabbitmq_url, dlq_name(config.name)) == 0
    ((parked, _),) = drain(rabbitmq_url, parked_name(config.name))
    assert parked.headers["dlq-reason"] == "not_json"
    ((returned, _),) = drain(rabbitmq_url, config.name)
    assert returned.message_id == message_id
    assert returned.headers["queue-replays"] == 1
    assert "dlq-reason" not in returned.headers
    assert "queue-attempts" not in returned.headers


async def test_what_was_sent_back_too_often_is_parked(config: Any, rabbitmq_url: str) -> None:
    config = config.model_copy(update={"dlq": config.dlq.model_copy(update={"retry_interval": 0.5, "max_retries": 1})})
    handler = UserHandler(fail)
    async with running((config, handler)):
        await publish(config.name, audio())
        await eventually(lambda: depth(rabbitmq_url, parked_name(config.name)) == 1, "it is parked")
    assert [attempt for _, attempt in handler.attempts] == [1, 2, 3, 1, 2, 3]


async def test_without_a_dlq_an_exhausted_message_is_logged_whole_and_dropped(
    config: Any, rabbitmq_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = config.model_copy(update={"enable_dlq": False})
    async with running((config, UserHandler(fail))):
        await publish(config.name, audio(content="the whole body"))
        await eventually(lambda: "is dropped" in caplog.text, "it is logged")
    assert "the whole body" in caplog.text
    assert depth(rabbitmq_url, config.name) == 0
    assert depth(rabbitmq_url, dlq_name(config.name)) == -1


async def test_a_connection_that_was_refused_leaves_nothing_to_be_closed() -> None:
    """aio-pika closes a connection where it is collected: in a thread without a loop, that is a warning."""
    publisher = get_publisher(queue_config("user_channel", "rabbitmq", broker_url="amqp://127.0.0.1:1"))
    for _ in range(3):
        with pytest.raises(PublishError):
            await publisher.publish_message("user_channel", audio())
    await publisher.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await asyncio.to_thread(gc.collect)
    assert not [str(warning.message) for warning in caught if "Connection.close" in str(warning.message)]


async def moved(processor: QueueProcessor, delivery: Delivery) -> bool:
    """Try to move it, which may take longer than `publish_timeout` on a busy machine."""
    try:
        await processor.move(delivery, delivery.message, Place.DLQ)
    except PublishError:
        return False
    return True


async def test_a_move_that_is_tried_again_while_the_link_is_frozen_leaves_one_copy(
    rabbitmq_url: str, queue_name: str
) -> None:
    host, port = address(rabbitmq_url, RabbitMQNode)
    proxy = await asyncio.to_thread(Proxy, port, host)
    config = queue_config(queue_name, "rabbitmq", broker_url=at(rabbitmq_url, proxy.port), publish_timeout=0.3)
    reader, processor = get_dead_letters(config, Place.QUEUE), get_processor(config)
    try:
        async with running((config, UserHandler())):
            pass  # its places are there
        publish_foreign(rabbitmq_url, queue_name, b"1", b"2")
        first, second = await reader.receive(), await reader.receive()
        assert first is not None
        assert second is not None
        await eventually(partial(moved, processor, first), "the link is open, and the first one is moved")
        proxy.mode("freeze")
        for _ in range(4):
            with pytest.raises(PublishError, match="did not confirm"):
                await processor.move(second, second.message, Place.DLQ)
        proxy.mode("pass")
        await eventually(partial(moved, processor, second), "the second one is moved")
    finally:
        await reader.close()
        await processor.close()
        await asyncio.to_thread(proxy.close)
    assert [body for _, body in drain(rabbitmq_url, dlq_name(queue_name))] == [b"1", b"2"]
