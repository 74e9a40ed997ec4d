"""Streams that are made, checked, or there already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RePublish, RetentionPolicy, StreamConfig

from app.queue.config import QueueConfig
from app.queue.errors import BrokerRefusedError, UnroutableError
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.rules import consumer_rules
from app.queue.providers.nats.streams import subjects
from app.queue.setup import get_publisher
from core_tests.tools.consumer import open_and_close, refuse
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


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
        f"quarantine_{queue_name}",
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
    assert f"stream '{queue_name}' is used as it is: max_bytes is -1, and this service would say 5000000" in caplog.text
    assert (await jetstream.stream_info(queue_name)).config.max_bytes == -1


HARMFUL: list[tuple[dict[str, Any], str]] = [
    ({"retention": RetentionPolicy.LIMITS}, "retention limits .and not workqueue"),
    ({"retention": RetentionPolicy.INTEREST}, "retention interest .and not workqueue"),
    ({"subjects": ["other.>"]}, r"subjects \['test_.*other.>'\] .and not 'test_"),
    ({"discard": DiscardPolicy.OLD}, "discard old .and not new"),
    ({"max_age": 3600}, "max_age 3600000000000 .messages would expire"),
    ({"max_msgs_per_subject": 1}, "max_msgs_per_subject 1 .more than these would be forgotten"),
    ({"no_ack": True}, "no_ack True .nothing would be confirmed"),
    ({"storage": "memory"}, "storage memory .a restart"),
    ({"allow_rollup_hdrs": True}, "allow_rollup_hdrs True .one message could delete all others"),
]
LOSE_NOTHING: list[dict[str, Any]] = [
    {"max_msgs_per_subject": 10, "discard_new_per_subject": True},
    {"max_msgs": 10},
    {"max_bytes": 10_000},
    {"max_msg_size": 10_000},
    {"duplicate_window": 10},
    {"subjects": ["other.>", ""]},
    {"republish": RePublish(src=">", dest="elsewhere.>")},
]
HARMFUL_TO_CONSUMING: list[tuple[dict[str, Any], str]] = [
    ({"max_deliver": 1}, "max_deliver 1 .what came so often would never come again"),
    ({"ack_wait": 1}, "ack_wait 1000000000 .and not 30000000000"),
    ({"max_deliver": 5, "backoff": [1, 2]}, "max_deliver 5 .*backoff .1000000000, 2000000000. .in place of ack_wait"),
    ({"filter_subject": "other"}, "filter_subject test_.*other .what has another subject would never come"),
    ({"headers_only": True}, "headers_only True .no body would come"),
    ({"replay_policy": "original"}, "replay_policy original .and not instant"),
    ({"mem_storage": True}, "mem_storage True .a restart of the server would delete it"),
    ({"deliver_subject": "elsewhere"}, "deliver_subject elsewhere .messages would go there"),
]


def good(queue: str, **keys: Any) -> StreamConfig:
    """A stream as the documentation says, with other `keys`. Of its subjects, those that begin with `other` are."""
    if "subjects" in keys:
        keys["subjects"] = [f"{queue}{name and '.'}{name}" for name in keys["subjects"]]
    made = {"name": queue, "subjects": [queue], "retention": "workqueue", "discard": "new", "storage": "file"}
    return StreamConfig(**{**made, **keys})


def needed(queue: str) -> list[str]:
    """The streams of a queue."""
    return list(subjects(NatsQueueConfig(name=queue, type="nats")))


async def provide(jetstream: JetStreamContext, config: QueueConfig, **keys: Any) -> None:
    """All that a queue needs, as the documentation says, with other `keys` of the stream of the queue itself."""
    for name in needed(config.name):
        await jetstream.add_stream(good(name, **(keys if name == config.name else {})))
        consumer = ConsumerConfig(
            durable_name="service", ack_policy=AckPolicy.EXPLICIT, max_deliver=-1, max_ack_pending=-1, ack_wait=30
        )
        await jetstream.add_consumer(name, consumer)


DECLARE = pytest.mark.parametrize("declare", [True, False])


@DECLARE
@pytest.mark.parametrize(("keys", "said"), HARMFUL)
async def test_a_stream_that_would_lose_messages_is_refused_and_not_changed(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, keys: dict[str, Any], said: str, declare: bool
) -> None:
    before = await jetstream.add_stream(good(queue_name, **keys))
    config = queue_config(queue_name, "nats", broker_url=nats_url, declare=declare)
    await refuse(config, f"would lose, hide or delay messages: {said}", said)
    after = await jetstream.stream_info(queue_name)
    assert (after.config, after.state.messages) == (before.config, 0)


@DECLARE
@pytest.mark.parametrize("keys", LOSE_NOTHING, ids="-".join)
async def test_a_stream_that_loses_nothing_is_used_as_it_is_with_a_warning(
    nats_url: str,
    queue_name: str,
    jetstream: JetStreamContext,
    caplog: pytest.LogCaptureFixture,
    keys: dict[str, Any],
    declare: bool,
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, declare=declare)
    await provide(jetstream, config, **keys)
    handler = UserHandler()
    async with running((config, handler)) as service:
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert f"stream '{queue_name}' is used as it is: {next(iter(keys))} is " in caplog.text


@DECLARE
async def test_streams_and_consumers_of_exactly_the_fields_of_the_documentation_are_used_without_a_word(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, caplog: pytest.LogCaptureFixture, declare: bool
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, declare=declare)
    await provide(jetstream, config)
    handler = UserHandler()
    async with running((config, handler)) as service:
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
        assert service.health().status == "healthy"
    assert "as it is" not in caplog.text


@pytest.mark.parametrize(("keys", "said"), HARMFUL_TO_CONSUMING)
async def test_a_consumer_that_would_lose_hide_or_delay_messages_is_refused(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, keys: dict[str, Any], said: str
) -> None:
    for name in needed(queue_name):
        await jetstream.add_stream(good(name, **({"subjects": ["", "other"]} if name == queue_name else {})))
    if "filter_subject" in keys:
        keys = {"filter_subject": f"{queue_name}.other"}
    pulled = {} if "deliver_subject" in keys else {"max_waiting": 128}
    made = ConsumerConfig(**{"durable_name": "service", "ack_wait": 30, **pulled, **keys})
    await jetstream.add_consumer(queue_name, made)
    for declare in (False, True):  # where it is made, and differs in what the server can't change, it is the same
        config = queue_config(queue_name, "nats", broker_url=nats_url, declare=declare)
        with pytest.raises(BrokerRefusedError, match=f"consumer 'service' of .* lose, hide or delay messages: {said}"):
            await open_and_close(config)


@pytest.mark.parametrize("place", ["", "delayed"])
async def test_a_consumer_that_the_server_deletes_when_nobody_asks_is_refused(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, place: str
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, declare=False)
    await provide(jetstream, config)
    name = f"retry_{queue_name}_delayed" if place else queue_name
    made = (await jetstream.consumer_info(name, "service")).config
    await jetstream.delete_consumer(name, "service")
    await jetstream.add_consumer(name, replace(made, inactive_threshold=5))
    with pytest.raises(BrokerRefusedError, match=r"inactive_threshold 5000000000 \(the server deletes it"):
        await open_and_close(config)


async def test_a_consumer_with_fewer_replicas_than_the_service_would_have_is_refused() -> None:
    rule = consumer_rules(NatsQueueConfig(name="q", type="nats", replicas=3), "q", holds_back=False)["num_replicas"]
    assert [rule.fine(value, {}) for value in (None, 0, 3, 5, 1)] == [True, True, True, True, False]


async def test_what_the_server_can_change_of_our_own_consumer_is_set_right_where_it_is_made(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    await jetstream.add_stream(good(queue_name))
    await jetstream.add_consumer(queue_name, ConsumerConfig(durable_name="service", max_waiting=2048, max_deliver=1))
    await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url))
    found = (await jetstream.consumer_info(queue_name, "service")).config
    assert (found.max_deliver, found.max_ack_pending) == (-1, -1)


async def test_the_consumer_of_the_delayed_must_hold_any_number_back(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    """What waits for a retry is in flight all the while."""
    stream = f"retry_{queue_name}_delayed"
    await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url))
    await jetstream.delete_consumer(stream, "service")
    await jetstream.add_consumer(stream, ConsumerConfig(durable_name="service"))
    with pytest.raises(BrokerRefusedError, match=r"max_ack_pending 1000 \(a retry beyond these would be late"):
        await open_and_close(queue_config(queue_name, "nats", broker_url=nats_url, declare=False))


async def test_a_consumer_beside_ours_is_told_in_the_servers_words(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    """It would get what we wait for."""
    await jetstream.add_stream(good(queue_name))
    await jetstream.add_consumer(queue_name, ConsumerConfig(durable_name="other"))
    with pytest.raises(BrokerRefusedError, match="multiple non-filtered consumers not allowed on workqueue stream"):
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
