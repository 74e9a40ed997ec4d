"""Headers and properties on which RabbitMQ acts are left behind when a message is moved on, and named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aiormq import spec

from app.queue.interfaces import Message, Place
from app.queue.messages.message import place_name
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.rabbitmq_queues import channel, depth, drain, publish
from core_tests.tools.waiting import eventually
from core_tests.tools.ways import WAYS, Way, every_way, moved

pytestmark = pytest.mark.broker

BODY = json.dumps(audio()).encode()
DEATH = {"count": 1, "exchange": "", "queue": "theirs", "reason": "expired", "routing-keys": ["theirs"]}
HEADERS: dict[str, Any] = {
    "x-delay": 100,
    "x-death": [DEATH],
    "x-first-death-queue": "theirs",
    "x-first-death-reason": "expired",
    "x-last-death-queue": "theirs",
    "x-received-from": [{"uri": "amqp://there", "exchange": "x"}],
    "x-stream-offset": "first",
    "x-stream-filter-value": "a",
    "x-deduplication-header": "once",
    "x-cache-ttl": 1000,
}
PROPERTIES = {"expiration": "600000", "user_id": "guest"}
KEPT = {"tenant": "7", "cc": "a@example.org", "x-tenant": 1, "x-total": 2}


@pytest.fixture
def witness(rabbitmq_url: str, queue_name: str) -> Iterator[str]:
    """A queue beside, for which a sender asks."""
    name = f"{queue_name}_witness"
    with channel(rabbitmq_url) as ch:
        ch.queue_declare(name, durable=True)
    yield name
    with channel(rabbitmq_url) as ch:
        ch.queue_delete(name)


async def declared(url: str, queue: str) -> Any:
    """The queue with all its places."""
    config = queue_config(queue, "rabbitmq", broker_url=url, queue_type="classic")
    consumer = get_consumer(config, MessageProcessor())
    consumer.on_delivery = lambda _: asyncio.sleep(0)
    await consumer.open()
    await consumer.close()
    return config


async def sent(url: str, queue: str, way: Way, headers: dict[str, Any], **properties: Any) -> tuple[Any, bytes]:
    """Send a message, as a foreign client would, and move it on. Returns what is in the target then: one message."""
    publish(url, place_name(queue, way.source), BODY, headers={**KEPT, **dict(way.headers), **headers}, **properties)
    await way.go(queue_config(queue, "rabbitmq", broker_url=url, queue_type="classic"))
    target = place_name(queue, Place.QUEUE if way.target is Place.RETRY else way.target)
    await eventually(lambda: depth(url, target) >= 1, "it is there")
    (found,) = drain(url, target)
    return found


def dropped(properties: Any) -> set[str]:
    return set(properties.headers.get("dlq-dropped-headers", "").split(", "))


@every_way
async def test_a_further_receiver_gets_one_copy_and_no_more(
    rabbitmq_url: str, queue_name: str, witness: str, way: Way
) -> None:
    await declared(rabbitmq_url, queue_name)
    properties, body = await sent(rabbitmq_url, queue_name, way, {"CC": [witness]}, message_id="m")
    assert (properties.message_id, body, depth(rabbitmq_url, witness)) == ("m", BODY, 1)
    assert "CC" not in properties.headers
    assert dropped(properties) == {"CC"}
    assert {name: properties.headers.get(name) for name in KEPT} == KEPT


async def test_a_blind_copy_is_not_sent_again(rabbitmq_url: str, queue_name: str, witness: str) -> None:
    """RabbitMQ takes `BCC` out of what it delivers; other protocols and bridges may leave it in."""
    config = await declared(rabbitmq_url, queue_name)
    publish(rabbitmq_url, queue_name, BODY)
    await moved(config, Place.DLQ, lambda message: replace(message, headers={"BCC": [witness]}))
    ((properties, _),) = drain(rabbitmq_url, place_name(queue_name, Place.DLQ))
    assert dropped(properties) == {"BCC"}
    assert depth(rabbitmq_url, witness) == 0


@pytest.mark.parametrize("name", HEADERS)
async def test_no_header_on_which_the_broker_acts_is_sent_again(rabbitmq_url: str, queue_name: str, name: str) -> None:
    await declared(rabbitmq_url, queue_name)
    for way in WAYS:
        properties, _ = await sent(rabbitmq_url, queue_name, way, {name: HEADERS[name]})
        found = properties.headers.get(name)
        # After a retry, RabbitMQ has written about its own wait queue.
        assert found is None or (way.name == "retry" and "death" in name and "theirs" not in str(found)), way.name
        assert dropped(properties) == {name}, way.name
        assert {name: properties.headers.get(name) for name in KEPT} == KEPT, way.name


@pytest.mark.parametrize("name", PROPERTIES)
async def test_no_property_on_which_the_broker_acts_is_sent_again(
    rabbitmq_url: str, queue_name: str, name: str
) -> None:
    await declared(rabbitmq_url, queue_name)
    for way in WAYS:
        keys = {name: PROPERTIES[name], "correlation_id": "c"}
        properties, _ = await sent(rabbitmq_url, queue_name, way, {}, **keys)
        assert (getattr(properties, name), properties.correlation_id) == (None, "c"), way.name
        assert dropped(properties) == {name}, way.name


async def test_an_answer_to_whoever_publishes_is_not_asked_for(rabbitmq_url: str, queue_name: str) -> None:
    """RabbitMQ closes the channel of who asks so without waiting for an answer."""

    def asking(message: Message) -> Message:
        return replace(message, properties=spec.Basic.Properties(reply_to="amq.rabbitmq.reply-to", app_id="a"))

    config = await declared(rabbitmq_url, queue_name)
    publish(rabbitmq_url, queue_name, BODY)
    await moved(config, Place.DLQ, asking)
    ((properties, _),) = drain(rabbitmq_url, place_name(queue_name, Place.DLQ))
    assert (properties.reply_to, properties.app_id, dropped(properties)) == (None, "a", {"reply_to"})


async def test_what_the_broker_says_of_our_own_wait_queues_is_not_named(rabbitmq_url: str, queue_name: str) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    dlq = place_name(queue_name, Place.DLQ)
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), UserHandler(fail))):
        publish(rabbitmq_url, queue_name, BODY, headers={"CC": [queue_name]})
        await eventually(lambda: depth(rabbitmq_url, dlq) >= 1, "it is dead-lettered")
        await asyncio.sleep(1)
    ((properties, _),) = drain(rabbitmq_url, dlq)  # `CC` to the queue itself makes no second copy: a queue gets one
    assert dropped(properties) == {"CC"}
    assert not [name for name in properties.headers if "death" in name]
