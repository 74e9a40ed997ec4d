"""Queues that are made, checked, or there already."""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from typing import Any

import pytest

from app.queue.errors import BrokerRefusedError
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose, RabbitMQConnectionManager
from app.queue.providers.rabbitmq.topology import QueueSpec, ensure, queue_specs
from app.queue.setup import get_publisher
from core_tests.tools.consumer import open_and_close, refuse
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name
from core_tests.tools.rabbitmq_queues import channel, depth
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def test_without_declare_every_missing_queue_is_named_with_its_arguments(
    rabbitmq_url: str, queue_name: str
) -> None:
    with pytest.raises(BrokerRefusedError) as caught:
        await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=False))
    text = str(caught.value)
    for name in (queue_name, f"dlq_{queue_name}", f"parked_{queue_name}", f"retry_{queue_name}_100"):
        assert f"{name} (durable" in text
    assert "x-message-ttl: 100" in text
    assert depth(rabbitmq_url, queue_name) == -1, "nothing was made"


async def test_without_declare_queues_that_are_there_are_used(rabbitmq_url: str, queue_name: str) -> None:
    await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))
    handler = UserHandler()
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=False), handler)):
        publisher = get_publisher(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=False))
        await publisher.publish_message(queue_name, audio())
        await publisher.close()
        await eventually(lambda: len(handler.handled) == 1, "it is handled")


async def test_a_queue_of_the_other_type_is_used_as_it_is_with_a_warning(
    rabbitmq_url: str, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=True, arguments={"x-queue-type": "classic"})
    await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))
    assert "is used as it is" in caplog.text
    assert "'quorum'" in caplog.text
    assert "'classic'" in caplog.text
    assert depth(rabbitmq_url, dlq_name(queue_name)) == 0


async def test_a_queue_that_would_lose_messages_is_refused_naming_both_sides(
    rabbitmq_url: str, queue_name: str
) -> None:
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=False)
    with pytest.raises(BrokerRefusedError, match=r"durable.*received 'true' but current is 'false'"):
        await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))


HARMFUL: list[tuple[str, dict[str, Any], str]] = [
    ("quorum", {"x-message-ttl": 60_000}, r"x-message-ttl 60000 \(messages would expire"),
    ("classic", {"x-message-ttl": 0}, r"x-message-ttl 0 \(messages would expire"),
    ("quorum", {"x-expires": 600_000}, r"x-expires 600000 \(the queue would be deleted"),
    ("quorum", {"x-max-length": 5}, r"x-max-length 5 \(more than these would push out the oldest"),
    ("classic", {"x-max-length-bytes": 5000, "x-overflow": "drop-head"}, r"x-max-length-bytes 5000 \("),
    ("classic", {"x-max-length": 5, "x-overflow": "reject-publish-dlx"}, r"x-max-length 5 \("),
    ("quorum", {"x-delivery-limit": 3}, r"x-delivery-limit 3 \(what came so often would be dropped"),
    ("quorum", {"x-max-length": 5, "x-message-ttl": 9}, r"x-message-ttl 9 .*; x-max-length 5 "),
    ("classic", {"x-single-active-consumer": True, "x-expires": 600_000}, r"x-expires 600000 \("),
    ("stream", {}, r"x-queue-type stream \(and neither quorum nor classic"),
]
LOSE_NOTHING: list[tuple[str, dict[str, Any]]] = [
    ("quorum", {"x-single-active-consumer": True}),
    ("classic", {"x-single-active-consumer": True, "x-max-priority": 5, "x-queue-mode": "lazy", "x-queue-version": 2}),
    ("quorum", {"x-max-length": 100, "x-max-length-bytes": 100_000, "x-overflow": "reject-publish"}),
    ("quorum", {"x-delivery-limit": 5000, "x-queue-leader-locator": "balanced", "x-quorum-initial-group-size": 1}),
    ("quorum", {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "it's 'theirs' of type 'x'"}),
]
DECLARE = pytest.mark.parametrize("declare", [True, False])
LIMIT = {"x-delivery-limit": 1_000_000}


@DECLARE
@pytest.mark.parametrize(("kind", "arguments", "said"), HARMFUL)
async def test_a_queue_that_would_lose_hide_or_delay_messages_is_refused_and_left_alone(
    rabbitmq_url: str, queue_name: str, kind: str, arguments: dict[str, Any], said: str, declare: bool
) -> None:
    made = {"x-queue-type": kind, **(LIMIT if kind == "quorum" else {}), **arguments}
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=True, arguments=made)
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=declare)
    await refuse(config, f"{queue_name}' exists, and would lose, hide .*{said}", said)
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=True, arguments=made)  # it is what it was


@DECLARE
@pytest.mark.parametrize(("kind", "arguments"), LOSE_NOTHING)
async def test_a_queue_that_loses_nothing_is_used_as_it_is_with_a_warning(
    rabbitmq_url: str,
    queue_name: str,
    kind: str,
    arguments: dict[str, Any],
    declare: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))
    with channel(rabbitmq_url) as ch:
        ch.queue_delete(queue_name)
        ch.queue_declare(queue_name, durable=True, arguments={"x-queue-type": kind, **arguments})
    handler = UserHandler()
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=declare)
    async with running((config, handler)) as service:
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    (said, *_) = [line for line in caplog.messages if "is used as it is" in line]
    for name, value in arguments.items():
        assert f"{name} is {value!r}, and this service would say " in said or value == ""


async def test_a_queue_without_a_type_is_a_classic_one(rabbitmq_url: str, queue_name: str) -> None:
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, durable=True)
    await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, queue_type="classic"))


@DECLARE
@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"durable": False}, "durable.*received 'true' but current is 'false'"),
        ({"durable": True, "auto_delete": True}, "auto_delete.*received 'false' but current is 'true'"),
        ({"exclusive": True}, "exclusive access to locked queue"),
    ],
)
async def test_a_queue_that_goes_with_somebody_is_refused_in_the_brokers_words(
    rabbitmq_url: str, queue_name: str, keys: dict[str, Any], said: str, declare: bool
) -> None:
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(queue_name, **keys)
        with pytest.raises(BrokerRefusedError, match=said):
            await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=declare))


@DECLARE
async def test_a_place_that_is_read_one_by_one_can_have_no_single_active_consumer(
    rabbitmq_url: str, queue_name: str, declare: bool
) -> None:
    await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url))
    arguments = {"x-queue-type": "quorum", **LIMIT, "x-single-active-consumer": True}
    with channel(rabbitmq_url) as ch:
        ch.queue_delete(dlq_name(queue_name))
        ch.queue_declare(dlq_name(queue_name), durable=True, arguments=arguments)
    with pytest.raises(BrokerRefusedError, match=r"dlq_.* x-single-active-consumer True \(RabbitMQ gives nothing"):
        await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=declare))


@DECLARE
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x-message-ttl": 5000}, r"x-message-ttl 5000 \(and not what this service says"),
        ({"x-overflow": None}, "x-overflow not set"),
        ({"x-dead-letter-routing-key": "elsewhere"}, "x-dead-letter-routing-key elsewhere"),
        ({"x-queue-type": "classic", "x-dead-letter-strategy": None}, "x-queue-type classic"),
        ({"x-queue-leader-locator": "balanced"}, None),
    ],
)
async def test_a_wait_queue_is_what_it_must_be(
    rabbitmq_url: str, queue_name: str, changed: dict[str, Any], said: str | None, declare: bool
) -> None:
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    await open_and_close(config)
    assert isinstance(config, RabbitMQQueueConfig)
    spec = next(spec for spec in queue_specs(config) if spec.name.startswith("retry_"))
    arguments = {name: value for name, value in {**spec.arguments, **changed}.items() if value is not None}
    with channel(rabbitmq_url) as ch:
        ch.queue_delete(spec.name)
        ch.queue_declare(spec.name, durable=True, arguments=arguments)
    with nullcontext() if said is None else pytest.raises(BrokerRefusedError, match=f"retry_.* {said}"):
        await open_and_close(queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url, declare=declare))


async def test_an_argument_that_this_broker_does_not_know_is_told_in_its_words(
    rabbitmq_url: str, queue_name: str
) -> None:
    """Of a queue that isn't there, nobody says that it exists and is to be deleted."""
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    assert isinstance(config, RabbitMQQueueConfig)
    pool = RabbitMQConnectionManager.of(config, Purpose.CONSUME)
    connection = await pool.acquire()
    try:
        with pytest.raises(BrokerRefusedError) as caught:
            await ensure(connection, [QueueSpec(queue_name, {"x-queue-type": "octopus"})], declare=True)
    finally:
        await pool.release(connection)
    assert "unsupported queue type 'octopus'" in str(caught.value)
    assert not {"exists", "delete"} & set(str(caught.value).split())
    assert depth(rabbitmq_url, queue_name) == -1


async def test_what_the_broker_says_too_long_to_be_read_is_told_as_it_is(rabbitmq_url: str) -> None:
    """RabbitMQ cuts what it says after 255 bytes."""
    name = f"test_{'x' * 110}_{uuid.uuid4().hex[:12]}"
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(name, durable=True, arguments={"x-queue-type": "classic", "x-max-priority": 5})
        try:
            with pytest.raises(BrokerRefusedError, match=r"exists with other arguments: .*x-max-priority.*\.\.\."):
                await open_and_close(queue_config(name, "rabbitmq", broker_url=rabbitmq_url, queue_type="classic"))
        finally:
            ch.queue_delete(name)


async def test_a_deleted_queue_is_made_again_and_consumed(rabbitmq_url: str, queue_name: str) -> None:
    handler = UserHandler()
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    async with running((config, handler)) as service:
        with channel(rabbitmq_url) as ch:
            ch.queue_delete(queue_name)
        publisher = service.publisher(queue_name)
        await publisher.publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
