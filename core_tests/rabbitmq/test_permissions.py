"""What RabbitMQ refuses for other reasons than what a queue is; and which rights a user needs for what.

A node of our own, for it is limited here.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from app.queue.config import QueueConfig
from app.queue.errors import BrokerError, BrokerRefusedError
from app.queue.interfaces import DeadLetterQueueHandler, Delivery, Place
from app.queue.messages.message import places
from app.queue.setup import get_dead_letters, get_processor, get_publisher
from core_tests.tools.consumer import open_and_close
from core_tests.tools.example import queue_config
from core_tests.tools.rabbitmq_node import RabbitMQNode
from core_tests.tools.rabbitmq_queues import channel
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQNode]:
    """A node whose user `plain` may read and write, and configure nothing."""
    if RabbitMQNode.find_server() is None:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("rabbitmq-server is not installed, and this test starts its own")
        pytest.skip("rabbitmq-server is not installed, and this test starts its own")
    node = RabbitMQNode()
    try:
        node.start()
        node.ctl("add_user", "plain", "plain")
        node.ctl("set_permissions", "plain", "", ".*", ".*")
        yield node
    finally:
        node.remove()


async def test_a_limit_of_queues_is_told_in_the_brokers_words(node: RabbitMQNode) -> None:
    node.ctl("set_vhost_limits", "-p", "/", '{"max-queues": 0}')
    try:
        with pytest.raises(BrokerRefusedError) as caught:
            await open_and_close(queue_config("limited", "rabbitmq", broker_url=node.url))
    finally:
        node.ctl("clear_vhost_limits", "-p", "/")
    assert "queue limit in vhost '/' (0) is reached" in str(caught.value)
    assert not {"exists", "delete"} & set(str(caught.value).split())


@pytest.mark.parametrize("name", ["plain", "prefetch"])  # by the word "prefetch" RabbitMQ speaks of a stream
@pytest.mark.parametrize("kind", ["quorum", "classic", "stream"])
async def test_without_the_right_to_configure_a_stream_is_refused_and_a_queue_is_used_with_a_warning(
    node: RabbitMQNode, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{name}_{uuid.uuid4().hex[:8]}"
    await open_and_close(queue_config(name, "rabbitmq", broker_url=node.url))
    with channel(node.url) as ch:
        ch.queue_delete(name)
        ch.queue_declare(name, durable=True, arguments={"x-queue-type": kind})
        ch.basic_publish("", name, b"{}")
    keys = {"broker_url": node.url.replace("guest:guest", "plain:plain"), "declare": False}
    if kind == "stream":
        with pytest.raises(BrokerRefusedError, match=r"x-queue-type stream \(and neither quorum nor classic"):
            await open_and_close(queue_config(name, "rabbitmq", **keys))
        return
    await open_and_close(queue_config(name, "rabbitmq", **keys))
    assert f"queue '{name}' is used as it is: this user has no permission to configure it" in caplog.text
    with channel(node.url) as ch:
        method, _, _ = ch.basic_get(name)
        assert method is not None


NAMES = "^((quarantine|dlq|parked)_)?orders$|^retry_orders_[0-9]+$"
"""As in docs/rabbitmq.md."""


async def send_through_every_place(config: QueueConfig) -> None:
    """Consume, publish, and move a message from the queue to each place of it, and back."""
    publisher, processor = get_publisher(config), get_processor(config)
    try:
        await open_and_close(config)
        await publisher.publish_message(config.name, {"type": "x"})
        for place in places(enable_dlq=True):
            for source, target in ((Place.QUEUE, place), (place, Place.QUEUE)):
                if source in (target, Place.RETRY):
                    continue
                reader = get_dead_letters(config, source)
                try:
                    delivery = await eventually_received(reader)
                    await processor.move(delivery, delivery.message, target, 0.1)
                finally:
                    await reader.close()
    finally:
        await publisher.close()
        await processor.close()


async def eventually_received(reader: DeadLetterQueueHandler) -> Delivery:
    """The oldest message there, as soon as there is one."""
    found: list[Delivery] = []

    async def received() -> bool:
        if (delivery := await reader.receive()) is not None:
            found.append(delivery)
        return bool(found)

    await eventually(received, "a message is there")
    return found[0]


async def test_the_documented_rights_are_all_that_are_needed(node: RabbitMQNode) -> None:
    config = queue_config(
        "orders",
        "rabbitmq",
        broker_url=node.url.replace("guest:guest", "service:service"),
        retry={"max_attempts": 2, "initial_delay": 0.1},
    )
    node.ctl("add_user", "service", "service")
    node.ctl("set_permissions", "service", NAMES, rf"^amq\.default$|{NAMES}", NAMES)
    await send_through_every_place(config)


async def test_without_the_right_to_write_to_the_default_exchange_nothing_is_published(node: RabbitMQNode) -> None:
    config = queue_config("orders", "rabbitmq", broker_url=node.url.replace("guest:guest", "names:names"))
    node.ctl("add_user", "names", "names")
    node.ctl("set_permissions", "names", NAMES, NAMES, NAMES)
    publisher = get_publisher(config)
    try:
        with pytest.raises(BrokerError, match=r"access to exchange 'amq\.default'"):
            await publisher.publish_message("orders", {"type": "x"})
    finally:
        await publisher.close()
