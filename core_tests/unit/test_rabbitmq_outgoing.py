"""What goes out over a channel: the bytes that aiormq would write, in fewer writes, and an end for whoever waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import aiormq
import aiormq.exceptions
import pamqp.frame
import pytest
from aiormq import spec
from aiormq.abc import ChannelFrame
from aiormq.channel import Returning
from hypothesis import example, given
from hypothesis import strategies as some
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from app.queue.providers.rabbitmq.outgoing import LARGE, Outgoing

PART = 1000
"""Bytes of a body that fit into a frame."""
text = some.text(max_size=300)
properties = some.builds(
    spec.Basic.Properties,
    content_type=text,
    content_encoding=some.none() | text,
    headers=some.none() | some.dictionaries(some.text(max_size=9), some.integers(-9, 9) | text, max_size=2),
    delivery_mode=some.sampled_from([None, 1, 2]),
    priority=some.none() | some.integers(0, 255),
    correlation_id=some.none() | text,
    message_id=some.text(min_size=1, max_size=300),
    app_id=some.none() | text,
)


class FakeChannel:
    """The public books of aiormq's channel, and a writer that the test plays."""

    def __init__(self) -> None:
        self.number = 7
        self.max_content_size = PART
        self.delivery_tag = 0
        self.confirmations: dict[int, asyncio.Future[Any]] = {}
        self.message_id_delivery_tag: dict[str, int] = {}
        self.write_queue: asyncio.Queue[ChannelFrame] = asyncio.Queue(1)
        self.closing = asyncio.get_running_loop().create_future()
        self.connection = SimpleNamespace(channels={self.number: self})

    def confirm(self, tag: int) -> None:
        self.confirmations.pop(tag).set_result(spec.Basic.Ack(tag))

    def close(self, why: BaseException) -> None:
        self.connection.channels.pop(self.number, None)
        self.closing.set_exception(why)


@pytest.fixture
async def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
async def outgoing(channel: FakeChannel) -> Any:
    outgoing = Outgoing(cast("aiormq.Channel", channel))
    yield outgoing
    if not channel.closing.done():
        channel.close(ConnectionError("the test is over"))
    await asyncio.sleep(0)


def publishing(outgoing: Outgoing, message_id: str, body: bytes = b"{}", queue: str = "q") -> asyncio.Task[Any]:
    given = spec.Basic.Properties(message_id=message_id, delivery_mode=2, content_type="application/json")
    return asyncio.create_task(outgoing.publish(body, routing_key=queue, properties=given))


def aiormqs(message_id: str, body: bytes, queue: str = "q") -> bytes:
    """What aiormq would write for it."""
    given = spec.Basic.Properties(message_id=message_id, delivery_mode=2, content_type="application/json")
    frames: list[Any] = [
        spec.Basic.Publish(exchange="", routing_key=queue, mandatory=True),
        ContentHeader(properties=given, body_size=len(body)),
        *(ContentBody(body[at : at + PART]) for at in range(0, len(body), PART)),
    ]
    return ChannelFrame.marshall(7, frames).payload


@given(properties, some.integers(0, 2**40))
@example(spec.Basic.Properties(content_type="x" * 256, delivery_mode=2, message_id="m"), 1)
@example(spec.Basic.Properties(content_type="x", delivery_mode=2, message_id="é" * 128), 1)
def test_a_header_is_written_as_pamqp_writes_it(given: spec.Basic.Properties, size: int) -> None:
    outgoing = cast("Outgoing", SimpleNamespace(channel=SimpleNamespace(number=7)))
    try:
        wanted = pamqp.frame.marshal(ContentHeader(properties=given, body_size=size), 7)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the same
        with pytest.raises(type(error)):
            Outgoing._header(outgoing, given, size)
    else:
        assert Outgoing._header(outgoing, given, size) == wanted


async def test_what_is_published_in_one_turn_is_one_write(channel: FakeChannel, outgoing: Outgoing) -> None:
    bodies = [b"x" * size for size in (0, 1, PART - 1, PART, PART + 1, 2 * PART)]
    tasks = [publishing(outgoing, f"m{n}", body, f"q{n % 2}") for n, body in enumerate(bodies)]
    write = await channel.write_queue.get()
    assert write.payload == b"".join(aiormqs(f"m{n}", body, f"q{n % 2}") for n, body in enumerate(bodies))
    assert not write.should_close
    assert list(channel.confirmations) == list(range(1, len(bodies) + 1))
    for tag in (3, 1, 2, 6, 5, 4):
        channel.confirm(tag)
    assert [answer.delivery_tag for answer in await asyncio.gather(*tasks)] == [1, 2, 3, 4, 5, 6]
    assert not channel.message_id_delivery_tag


async def test_a_large_write_waits_for_room_and_the_next_one_for_it(channel: FakeChannel, outgoing: Outgoing) -> None:
    large = [publishing(outgoing, f"m{n}", b"x" * LARGE) for n in range(2)]
    first = await channel.write_queue.get()
    assert first.payload == aiormqs("m0", b"x" * LARGE)
    small = publishing(outgoing, "m2")
    for _ in range(10):
        await asyncio.sleep(0)
    assert channel.write_queue.empty()
    first.drain()
    second = await channel.write_queue.get()
    assert second.payload == aiormqs("m1", b"x" * LARGE)
    second.drain()
    third = await channel.write_queue.get()
    assert third.payload == aiormqs("m2", b"{}")
    assert not third.should_drain
    for tag in (1, 2, 3):
        channel.confirm(tag)
    await asyncio.gather(*large, small)


async def test_what_nobody_waits_for_any_more_is_not_sent(channel: FakeChannel, outgoing: Outgoing) -> None:
    tasks = [publishing(outgoing, f"m{n}", b"x" * LARGE) for n in range(3)]
    first = await channel.write_queue.get()
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    first.drain()
    second = await channel.write_queue.get()
    assert second.payload == aiormqs("m2", b"x" * LARGE)
    assert list(channel.confirmations) == [1, 2]
    channel.confirm(1)
    channel.confirm(2)
    await asyncio.gather(tasks[0], tasks[2])


async def test_a_confirm_that_comes_after_its_publish_was_cancelled_finds_nobody(
    channel: FakeChannel, outgoing: Outgoing
) -> None:
    task = publishing(outgoing, "m")
    await channel.write_queue.get()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert channel.confirmations[1].cancelled()
    assert not channel.message_id_delivery_tag


async def test_when_the_channel_ends_what_was_written_may_have_landed_and_the_rest_was_not_sent(
    channel: FakeChannel, outgoing: Outgoing
) -> None:
    written = publishing(outgoing, "m0", b"x" * LARGE)
    await channel.write_queue.get()  # and there is no room for more
    waiting = publishing(outgoing, "m1")
    await asyncio.sleep(0)
    channel.confirmations[99] = Returning()  # a message that came back, and whose confirm is to come
    channel.close(aiormq.exceptions.ChannelPreconditionFailed("the broker's words"))
    with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed, match="the broker's words"):
        await written
    with pytest.raises(aiormq.exceptions.ChannelInvalidStateError):
        await waiting
    with pytest.raises(aiormq.exceptions.ChannelInvalidStateError):
        await publishing(outgoing, "m2")
    assert not channel.confirmations[99].done()


async def test_before_a_channel_is_closed_what_waits_ends_and_is_not_sent(
    channel: FakeChannel, outgoing: Outgoing
) -> None:
    written = publishing(outgoing, "m0", b"x" * LARGE)
    first = await channel.write_queue.get()
    waiting = publishing(outgoing, "m1")
    await asyncio.sleep(0)
    outgoing.end()
    first.drain()
    for late in (waiting, publishing(outgoing, "m2")):
        with pytest.raises(aiormq.exceptions.ChannelInvalidStateError):
            await late
    assert channel.write_queue.empty()
    assert list(channel.confirmations) == [1]
    channel.confirm(1)  # which the broker still says before it answers to the close
    assert (await written).delivery_tag == 1


async def test_when_the_broker_closes_the_channel_nothing_is_sent_behind_the_answer(
    channel: FakeChannel, outgoing: Outgoing
) -> None:
    written = publishing(outgoing, "m0", b"x" * LARGE)
    first = await channel.write_queue.get()
    waiting = publishing(outgoing, "m1")
    await asyncio.sleep(0)
    channel.connection.channels.pop(channel.number)  # by aiormq's reader; the channel is told some turns later
    first.drain()
    for late in (waiting, publishing(outgoing, "m2")):
        with pytest.raises(aiormq.exceptions.ChannelInvalidStateError):
            await late
    assert channel.write_queue.empty()
    channel.close(aiormq.exceptions.ChannelAccessRefused("no"))
    with pytest.raises(aiormq.exceptions.ChannelAccessRefused):
        await written


async def test_a_broker_may_have_no_bound_for_frames(channel: FakeChannel, outgoing: Outgoing) -> None:
    channel.max_content_size = -8  # that of a frame_max of 0
    task = publishing(outgoing, "m", b"x" * 300)
    channel_frame = await channel.write_queue.get()
    assert channel_frame.payload == aiormqs("m", b"x" * 300)
    channel.confirm(1)
    await task


async def test_a_channel_that_was_closed_here_ends_them_too(channel: FakeChannel, outgoing: Outgoing) -> None:
    task = publishing(outgoing, "m")
    await channel.write_queue.get()
    channel.close(asyncio.CancelledError())
    with pytest.raises(ConnectionError):
        await task


async def test_a_message_without_an_id_gets_one_to_be_found_by(channel: FakeChannel, outgoing: Outgoing) -> None:
    task = asyncio.create_task(outgoing.publish(b"", routing_key="q", properties=spec.Basic.Properties()))
    await channel.write_queue.get()
    (message_id,) = channel.message_id_delivery_tag
    assert len(message_id) == 32
    channel.confirm(1)
    await task


async def test_what_cannot_be_written_is_the_callers_error_and_costs_no_tag(
    channel: FakeChannel, outgoing: Outgoing
) -> None:
    bad = spec.Basic.Properties(message_id="m", headers=cast("Any", {"x": object()}))
    with pytest.raises(TypeError):
        await outgoing.publish(b"{}", routing_key="q", properties=bad)
    with pytest.raises(TypeError, match="255"):
        await outgoing.publish(b"{}", routing_key="q" * 256, properties=spec.Basic.Properties(message_id="m"))
    good = publishing(outgoing, "m")
    assert (await channel.write_queue.get()).payload == aiormqs("m", b"{}")
    assert list(channel.confirmations) == [1]
    channel.confirm(1)
    await good
