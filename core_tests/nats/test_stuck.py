"""A consumer that has messages in flight which its stream has no more, as a server that was killed may find it.

NATS 2.9 then gives nobody anything. `made_stuck` brings a server of our own into that state.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator

import nats.errors
import pytest
from nats.js import JetStreamContext
from nats.js.api import ConsumerInfo

from app.queue.errors import BrokerUnavailableError
from app.queue.interfaces import Place
from app.queue.messages.message import place_name
from app.queue.providers.nats import leases
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.dead_letter_queue import NatsDeadLetterQueueHandler
from app.queue.providers.nats.streams import consumer_config, stream_config
from core_tests.nats.conftest import Start
from core_tests.tools.consumer import Instance, open_and_close, publish
from core_tests.tools.example import UserHandler, queue_config, running
from core_tests.tools.nats_node import NatsNode
from core_tests.tools.nats_streams import jetstream
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]

QUEUE = "stuck"
ACK_WAIT = 5
GONE, LEFT = 60, 10  # more are gone than are tried again within `ACK_WAIT`: else they would come to an end


@pytest.fixture
def node(start: Start) -> NatsNode:
    return start()


@pytest.fixture
def config(node: NatsNode) -> NatsQueueConfig:
    config = queue_config(QUEUE, "nats", broker_url=node.url, ack_wait=ACK_WAIT)
    assert isinstance(config, NatsQueueConfig)
    return config


@pytest.fixture
async def streams(config: NatsQueueConfig, node: NatsNode) -> AsyncIterator[JetStreamContext]:
    await open_and_close(config)
    async with jetstream(node.url) as streams:
        yield streams


async def made_stuck(node: NatsNode, stream: str) -> None:
    """The server comes back with a consumer and a stream that are not of the same moment.

    Of what the consumer had, the first message is acked, and yet there; `GONE` are in flight, and there no more.
    """
    folder = node.home / "jetstream" / "$G" / "streams" / stream
    messages, consumers, kept = folder / "msgs", folder / "obs", node.home / "kept"
    node.stop()
    shutil.copytree(messages, kept / "msgs")
    await asyncio.to_thread(node.start)
    async with jetstream(node.url) as streams:
        first, *taken = await (await streams.pull_subscribe_bind("service", stream)).fetch(1 + GONE, timeout=10)
        assert len(taken) == GONE
        await first.ack_sync()
    node.stop()
    shutil.rmtree(messages)
    shutil.copytree(kept / "msgs", messages)
    shutil.move(consumers, kept / "obs")
    await asyncio.to_thread(node.start)
    async with jetstream(node.url) as streams:
        for number in range(2, 2 + GONE):
            await streams.delete_msg(stream, number)
    node.stop()
    shutil.rmtree(consumers, ignore_errors=True)
    shutil.move(kept / "obs", consumers)
    await asyncio.to_thread(node.start)
    await asyncio.sleep(ACK_WAIT + 1)  # before that, it gives what it has not given yet


async def test_a_consumer_that_gives_nothing_is_made_anew(
    config: NatsQueueConfig, node: NatsNode, streams: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    await publish(config, 1 + GONE + LEFT)
    await made_stuck(node, QUEUE)
    handler = UserHandler()
    async with running((config, handler)) as service:
        await eventually(lambda: len(handler.handled) == 1 + LEFT, "what is left is handled", 60)
        await eventually(lambda: service.health().status == "healthy", "health says so")
    assert f"{LEFT} messages wait, and nobody gets any" in caplog.text


async def test_a_place_that_gives_nothing_is_read_after_all(
    config: NatsQueueConfig, node: NatsNode, streams: JetStreamContext
) -> None:
    dlq = place_name(QUEUE, Place.DLQ)
    reader = NatsDeadLetterQueueHandler(QUEUE, config)
    assert await reader.depth() == 0
    for number in range(1 + GONE + LEFT):
        await streams.publish(dlq, b"{}", headers={"message-id": str(number)})
    await made_stuck(node, dlq)
    with pytest.raises(BrokerUnavailableError, match="must be made anew"):
        await (reader := NatsDeadLetterQueueHandler(QUEUE, config)).receive()
    assert await reader.depth() == 1 + LEFT
    delivery = await reader.receive()
    assert delivery is not None
    assert delivery.message.message_id == "0"
    await reader.close()


async def test_without_declare_it_is_said_what_is_to_be_done(
    config: NatsQueueConfig, node: NatsNode, streams: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    await publish(config, 1 + GONE + LEFT)
    await made_stuck(node, QUEUE)
    theirs = config.model_copy(update={"declare": False})
    async with running((theirs, UserHandler())), jetstream(node.url) as own:
        await eventually(lambda: "must be made anew" in caplog.text, "the log says so", 60)
        assert (await own.consumer_info(QUEUE, "service")).num_ack_pending == GONE


async def test_the_place_of_an_older_version_is_left_as_it_is(
    config: NatsQueueConfig, node: NatsNode, streams: JetStreamContext
) -> None:
    """Nobody would make its consumer anew."""
    old = place_name(QUEUE, Place.OLD_QUARANTINE)
    await streams.add_stream(stream_config(config, old))
    await streams.add_consumer(old, consumer_config(config))
    for _ in range(1 + GONE + LEFT):
        await streams.publish(old, b"{}")
    await made_stuck(node, old)
    with pytest.raises(BrokerUnavailableError, match="no answer"):
        await NatsDeadLetterQueueHandler(QUEUE, config, Place.OLD_QUARANTINE).receive()
    async with jetstream(node.url) as own:
        assert (await own.consumer_info(old, "service")).num_ack_pending == GONE


async def test_a_look_that_gets_no_answer_ends_no_link(
    config: NatsQueueConfig, streams: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    async def unanswered(_: JetStreamContext, stream: str, *rest: str) -> ConsumerInfo:
        looks.append(stream)
        raise nats.errors.TimeoutError

    monkeypatch.setattr(leases, "LOOK_AFTER", 1)
    async with Instance(config).opened() as instance:
        with monkeypatch.context() as patched:
            patched.setattr(JetStreamContext, "consumer_info", unanswered)
            await eventually(lambda: looks.count(QUEUE) >= 2, "it has looked")
        await streams.publish(QUEUE, b"{}")
        await eventually(lambda: len(instance.got) == 1, "it goes on over the same link")


async def test_a_consumer_whose_limit_others_use_up_is_left_alone(
    config: NatsQueueConfig, streams: JetStreamContext
) -> None:
    await streams.add_consumer(QUEUE, consumer_config(config), max_ack_pending=3)
    began = (await streams.consumer_info(QUEUE, "service")).created
    await publish(config, 20)
    theirs = config.model_copy(update={"declare": False})  # else the limit would be taken away
    async with Instance(theirs, acks=False).opened() as one, Instance(theirs, acks=False).opened() as other:
        await eventually(lambda: len(one.got) + len(other.got) == 3, "as many as may be are in flight")
        await asyncio.sleep(14)  # more than two looks
        await one.settle()
        await other.settle()
        await eventually(lambda: len(one.got) + len(other.got) >= 6, "as many again")
    assert (await streams.consumer_info(QUEUE, "service")).created == began
