"""Streams that are made, checked, or there already."""

from __future__ import annotations

from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig

from app.queue.config import QueueConfig
from app.queue.errors import BrokerRefusedError, UnroutableError
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_publisher
from tests.tools.example import UserHandler, audio, queue_config, running
from tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def _ignore(_: object) -> None:
    """Take a delivery, and do nothing."""


async def open_and_close(config: QueueConfig) -> None:
    consumer = get_consumer(config, MessageProcessor())
    consumer.on_delivery = _ignore
    try:
        await consumer.open()
    finally:
        await consumer.close()


async def names(jetstream: JetStreamContext, queue: str) -> set[str]:
    return {
        stream.config.name or "" for stream in await jetstream.streams_info() if queue in (stream.config.name or "")
    }


async def test_consuming_makes_a_stream_for_every_place(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url, max_bytes=10_000_000))
    made = {
        queue_name,
        f"retry_{queue_name}_delayed",
        f"retry_{queue_name}_crashed",
        f"dlq_{queue_name}",
        f"parked_{queue_name}",
    }
    assert await names(jetstream, queue_name) == made
    for name in made:
        config = (await jetstream.stream_info(name)).config
        assert (config.retention, config.discard, config.storage) == ("workqueue", "new", "file")
        assert (config.max_bytes, config.max_msgs, config.max_age) == (10_000_000, -1, 0)


async def test_without_declare_what_is_missing_is_named_and_nothing_is_made(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, declare=False)
    with pytest.raises(BrokerRefusedError, match=f"no stream '{queue_name}'; needed are .*'parked_{queue_name}'"):
        await open_and_close(config)
    assert not await names(jetstream, queue_name)
    await jetstream.add_stream(name=queue_name, subjects=[queue_name], retention="workqueue", discard="new")
    with pytest.raises(BrokerRefusedError, match=f"no stream 'retry_{queue_name}_delayed'"):
        await open_and_close(config)


async def test_without_declare_streams_that_are_there_are_used(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url))
    await jetstream.delete_consumer(queue_name, "service")
    config = queue_config(queue_name, "nats", broker_url=nats_url, declare=False)
    with pytest.raises(BrokerRefusedError, match=f"stream '{queue_name}' has no consumer 'service'"):
        await open_and_close(config)
    await jetstream.add_consumer(queue_name, ConsumerConfig(durable_name="service"))
    handler = UserHandler()
    async with running((config, handler)) as service:
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")


async def test_a_stream_with_other_limits_is_used_as_it_is_with_a_warning(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url))
    assert "is used as it is" not in caplog.text
    await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url, max_bytes=5_000_000))
    assert f"stream '{queue_name}' is used as it is: max_bytes is -1, and queues.yaml says 5000000" in caplog.text
    assert (await jetstream.stream_info(queue_name)).config.max_bytes == -1


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"retention": RetentionPolicy.LIMITS}, "exists with retention limits .* needs one with retention workqueue"),
        ({"subjects": ["other.>"]}, "exists with retention workqueue for .'other.>'.* needs one .* for 'test_"),
        ({"discard": DiscardPolicy.OLD}, "would lose messages: discard old .and not new."),
        ({"max_age": 3600}, "would lose messages: max_age 3600"),
    ],
)
async def test_a_stream_that_would_lose_messages_is_refused_naming_both_sides(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, keys: dict[str, Any], said: str
) -> None:
    good: dict[str, Any] = {"subjects": [queue_name], "retention": "workqueue", "discard": "new"}
    if "subjects" in keys:
        keys = {"subjects": [f"{queue_name}.other.>"]}
        said = said.replace("other.>", f"{queue_name}.other.>")
    await jetstream.add_stream(StreamConfig(name=queue_name, **{**good, **keys}))
    with pytest.raises(BrokerRefusedError, match=said):
        await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url))


async def test_a_subject_that_belongs_to_another_stream_is_an_error(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    await jetstream.add_stream(name=f"foreign_{queue_name}", subjects=[queue_name])
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url))
    try:
        with pytest.raises(Exception, match="subjects overlap with an existing stream"):
            await publisher.publish_message(queue_name, audio())
        assert (await jetstream.stream_info(f"foreign_{queue_name}")).state.messages == 0
    finally:
        await publisher.close()


async def test_a_publish_never_lands_in_another_stream_that_takes_the_subject(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    await jetstream.add_stream(name=f"foreign_{queue_name}", subjects=[f"{queue_name}_other"])
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url))
    try:
        with pytest.raises(UnroutableError, match=f"belongs to another stream than '{queue_name}_other'"):
            await publisher.publish_message(f"{queue_name}_other", audio())
        assert (await jetstream.stream_info(f"foreign_{queue_name}")).state.messages == 0
    finally:
        await publisher.close()


async def test_a_deleted_stream_is_made_again_and_consumed(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    handler = UserHandler()
    async with running((queue_config(queue_name, "nats", broker_url=nats_url), handler)) as service:
        for number in range(3):
            await jetstream.delete_stream(queue_name)
            await service.publisher(queue_name).publish_message(queue_name, audio(number))
        await eventually(lambda: {message.user_id for message in handler.handled} >= {2}, "it is handled")
    assert f"was the stream '{queue_name}' deleted?" in caplog.text


async def test_a_deleted_place_is_made_again_when_something_goes_there(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no")

    keys: dict[str, Any] = {"retry": {"max_attempts": 1}}
    async with running((queue_config(queue_name, "nats", broker_url=nats_url, **keys), UserHandler(fail))) as service:
        await jetstream.delete_stream(f"dlq_{queue_name}")
        await service.publisher(queue_name).publish_message(queue_name, audio())

        async def dead() -> bool:
            return f"dlq_{queue_name}" in await names(jetstream, queue_name)

        await eventually(dead, "there is a DLQ again")
        assert (await jetstream.stream_info(f"dlq_{queue_name}")).state.messages == 1


async def test_a_queue_that_is_nobodys_is_unroutable(nats_url: str, queue_name: str) -> None:
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url))
    try:
        with pytest.raises(UnroutableError, match="no stream for 'nobodys'"):
            await publisher.publish_message("nobodys", audio())
    finally:
        await publisher.close()
