"""What the server confirms, drops as a repeat, or refuses."""

from __future__ import annotations

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from app.queue.errors import (
    AckLostError,
    BrokerUnavailableError,
    MessageTooLargeError,
    PublisherBlockedError,
    PublishError,
)
from app.queue.interfaces import Delivery, Place, PublisherState
from app.queue.providers.nats.leases import NatsLeases
from app.queue.setup import get_dead_letters, get_processor, get_publisher
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def test_a_publish_that_is_repeated_is_stored_once(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url))
    try:
        for _ in range(3):
            assert await publisher.publish_message(queue_name, audio(), message_id="mine") == "mine"
        assert (await jetstream.stream_info(queue_name)).state.messages == 1
        await publisher.publish_message(queue_name, audio(), message_id="another")
        await publisher.publish_message(queue_name, audio(4), message_id="mine")
        await publisher.publish_message(queue_name, audio())
        await publisher.publish_message(queue_name, audio())
        assert (await jetstream.stream_info(queue_name)).state.messages == 5
    finally:
        await publisher.close()


async def test_after_the_window_a_repeat_is_a_message_of_its_own(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url, duplicate_window=1))
    try:
        await publisher.publish_message(queue_name, audio(), message_id="mine")

        async def stored_again() -> bool:
            await publisher.publish_message(queue_name, audio(), message_id="mine")
            return (await jetstream.stream_info(queue_name)).state.messages == 2

        await eventually(stored_again, "the window is over")
    finally:
        await publisher.close()


async def test_no_retry_and_no_return_from_the_dlq_is_taken_for_a_repeat(nats_url: str, queue_name: str) -> None:
    broken = True

    def behave(_: object) -> None:
        if broken:
            raise RuntimeError("no")

    handler = UserHandler(behave)
    config = queue_config(
        queue_name, "nats", broker_url=nats_url, dlq={"retry_interval": 0.5}, pause={"after": 0}, retry={
            "max_attempts": 3, "initial_delay": 0.05, "multiplier": 1
        }
    )  # fmt: skip
    async with running((config, handler)) as service:
        await service.publisher(queue_name).publish_message(queue_name, audio(), message_id="one")
        await eventually(lambda: len(handler.attempts) >= 7, "it came from the DLQ twice")
        assert handler.attempts[:7] == [("one", 1), ("one", 2), ("one", 3)] * 2 + [("one", 1)]
        broken = False
        await eventually(lambda: len(handler.handled) == 1, "it is handled")


async def test_a_hand_over_whose_ack_was_lost_is_in_its_place_once_when_it_is_done_again(
    nats_url: str, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> None:
        raise BrokerUnavailableError("the ack was lost")

    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=1)
    publisher, processor = get_publisher(config), get_processor(config)
    reader, dead_letters = get_dead_letters(config, Place.QUEUE), get_dead_letters(config)
    try:
        await publisher.publish_message(queue_name, audio(), message_id="one")
        first = await reader.receive()
        assert first is not None
        with monkeypatch.context() as patched:
            patched.setattr(NatsLeases, "ack", lost)
            with pytest.raises(AckLostError):
                await processor.move(first, first.message, Place.DLQ)
        assert (await dead_letters.depth(), await reader.depth()) == (1, 1)
        again: list[Delivery] = []

        async def taken_again() -> bool:
            again.extend(filter(None, [await reader.receive()]))
            return bool(again)

        await eventually(taken_again, "nobody says any more that it is in flight, so it comes again")
        await processor.move(again[0], again[0].message, Place.DLQ)
        assert (await dead_letters.depth(), await reader.depth()) == (1, 0)
    finally:
        for part in (publisher, processor, reader, dead_letters):
            await part.close()


async def test_a_full_stream_blocks_the_publisher_and_loses_nothing(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url, max_bytes=20_000))
    states: list[PublisherState] = []
    try:
        for _ in range(10):
            await publisher.publish_message(queue_name, audio(content="x" * 1000))
        large = audio(content="x" * 10_000)
        with pytest.raises(PublisherBlockedError, match="maximum bytes exceeded; nothing was stored"):
            await publisher.publish_message(queue_name, large)
        states.append(publisher.state)
        assert (await jetstream.stream_info(queue_name)).state.messages == 10
        await jetstream.purge_stream(queue_name, keep=1)
        await publisher.publish_message(queue_name, large)
        states.append(publisher.state)
        assert states == ["blocked", "ready"]
    finally:
        await publisher.close()


async def test_what_the_server_would_break_the_connection_for_is_refused_before(nats_url: str, queue_name: str) -> None:
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url, max_message_bytes=10_000_000))
    try:
        await publisher.publish_message(queue_name, audio(content="x" * 1_000_000))
        with pytest.raises(MessageTooLargeError, match="max_payload is 1048576, of which 8192 are kept"):
            await publisher.publish_message(queue_name, audio(content="x" * 1_045_000))
        with pytest.raises(MessageTooLargeError, match="of headers"):
            await publisher.publish_message(queue_name, audio(), headers={"large": "x" * 1_045_000})
        assert publisher.state == "ready"
    finally:
        await publisher.close()


async def test_a_message_as_large_as_the_server_takes_reaches_the_dlq(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, max_message_bytes=1000)
    async with running((config, UserHandler())):
        headers = {"foreign": "y" * 1_000}
        await jetstream.publish(queue_name, b"x" * (1_048_576 - 1_200), headers=headers)
        dead_letters = get_dead_letters(config)

        async def there() -> bool:
            return await dead_letters.depth() == 1

        await eventually(there, "it is in the DLQ")
        delivery = await dead_letters.receive()
        assert delivery is not None
        assert len(delivery.message.body) == 1_048_576 - 1_200
        assert delivery.message.headers["dlq-reason"] == "too_large"
        assert delivery.message.headers["dlq-dropped-headers"] == "foreign"
        await dead_letters.close()


async def test_a_publish_to_a_stream_that_takes_less_is_too_large(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    await jetstream.add_stream(
        name=queue_name, subjects=[queue_name], retention="workqueue", discard="new", max_msg_size=500
    )
    publisher = get_publisher(queue_config(queue_name, "nats", broker_url=nats_url))
    try:
        with pytest.raises(MessageTooLargeError, match="max_msg_size"):
            await publisher.publish_message(queue_name, audio(content="x" * 1000))
    finally:
        await publisher.close()


async def test_messages_of_one_id_and_different_bodies_are_all_handled(nats_url: str, queue_name: str) -> None:
    handler = UserHandler()
    async with running((queue_config(queue_name, "nats", broker_url=nats_url), handler)) as service:
        for number in range(5):
            await service.publisher(queue_name).publish_message(queue_name, audio(number), message_id="same")
        await eventually(lambda: len(handler.handled) == 5, "all are handled")


@pytest.mark.parametrize("answer", [b"{}", b"ok", b"[1]", b'{"stream": "other", "seq": 1}'])
async def test_what_somebody_else_answers_is_no_confirmation(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, answer: bytes
) -> None:
    config = queue_config(queue_name, "nats", broker_url=nats_url, circuit_breaker={"fail_max": 100})
    publisher = get_publisher(config)
    client = Client()
    await client.connect(nats_url)

    async def respond(message: Msg) -> None:
        await message.respond(answer)

    try:
        await publisher.publish_message(queue_name, audio())
        await jetstream.delete_stream(queue_name)
        await client.subscribe(queue_name, cb=respond)
        await client.flush()

        async def nobody_else_answers() -> bool:  # the deleted stream may, for a moment
            return (await client.request(queue_name, b"?")).data == answer

        await eventually(nobody_else_answers, "the stream is gone")
        with pytest.raises(PublishError) as caught:
            await publisher.publish_message(queue_name, audio())
        assert caught.value.may_have_landed
    finally:
        await publisher.close()
        await client.close()
