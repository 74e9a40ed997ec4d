"""The examples of the design, as they stand there, on a real broker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.queue.config import load_queues
from app.queue.errors import PublishError, UnroutableError
from app.queue.processor import MessageProcessor
from app.queue.providers.rabbitmq.consumer import AsyncRabbitMQConsumer
from app.queue.providers.rabbitmq.publisher import AsyncRabbitMQPublisher
from app.queue.setup import get_consumer, get_publisher
from core_tests.tools.example import UserHandler, audio, queue_config
from core_tests.tools.ports import free_port
from core_tests.tools.rabbitmq_queues import drain

pytestmark = pytest.mark.broker


async def test_a_publisher_by_itself_publishes_a_persistent_message(rabbitmq_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    publisher = AsyncRabbitMQPublisher(queue_name, config)
    body = json.dumps({"type": "send_audio", "user_id": 123, "content": "audio_data"})
    message_id = await publisher.publish_message(queue_name, body)
    await publisher.close()
    ((properties, received),) = drain(rabbitmq_url, queue_name)
    assert received == body.encode()
    assert properties.message_id == message_id
    assert properties.delivery_mode == 2
    assert properties.content_type == "application/json"


async def test_load_queues_and_get_publisher_as_scripts_use_them(
    rabbitmq_url: str, queue_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "queues.yaml"
    file.write_text(f"queues:\n  - name: {queue_name}\n    type: rabbitmq\n    broker_url: ${{RABBITMQ_URL}}\n")
    monkeypatch.setenv("QUEUES_FILE", str(file))
    config = load_queues()
    publisher = get_publisher(config.queues[0])
    assert await publisher.publish_message(queue_name, audio(), message_id="mine") == "mine"
    await publisher.close()
    ((properties, _),) = drain(rabbitmq_url, queue_name)
    assert properties.message_id == "mine"


async def test_process_message_calls_the_handlers_method() -> None:
    handler = UserHandler()
    dispatcher = MessageProcessor()
    dispatcher.register_handler("user_channel", handler)
    consumer = get_consumer(queue_config("user_channel", "rabbitmq"), dispatcher)
    assert isinstance(consumer, AsyncRabbitMQConsumer)
    await consumer.process_message({"type": "send_audio", "user_id": 123, "content": "audio_data"})
    assert handler.handled[0].content == "audio_data"


async def test_a_message_for_a_queue_that_is_not_there_is_an_error(rabbitmq_url: str, queue_name: str) -> None:
    config = queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url)
    publisher = get_publisher(config)
    with pytest.raises(UnroutableError, match="nowhere"):
        await publisher.publish_message(f"{queue_name}_typo", audio())
    await publisher.close()


async def test_publishing_to_a_dead_broker_fails_fast_and_opens_the_breaker() -> None:
    keys = {"circuit_breaker": {"fail_max": 2, "reset_timeout": 60}}
    publisher = get_publisher(
        queue_config("user_channel", "rabbitmq", broker_url="127.0.0.1", port=free_port(), **keys)
    )
    with pytest.raises(PublishError, match=r"RabbitMQ at 127.0.0.1:\d+: "):
        await publisher.publish_message("user_channel", audio())  # two tries, since neither was sent
    with pytest.raises(PublishError, match="circuit breaker is open") as caught:
        await publisher.publish_message("user_channel", audio())
    assert not caught.value.may_have_landed
    assert caught.value.message_id
    assert publisher.breaker_state == "open"
    await publisher.close()
