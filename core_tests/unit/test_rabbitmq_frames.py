"""A frame is read as pamqp reads it, whatever is in it: right, cut, or changed."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

import aiormq.connection
import aiormq.exceptions
import pamqp.frame
import pytest
from aiormq import spec
from hypothesis import example, given
from hypothesis import strategies as some
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from app.queue.providers.rabbitmq import frames

AIORMQS_OWN: Any = frames.FrameReceiver.__mro__[1]
text = some.text(max_size=60).filter(lambda value: len(value.encode()) < 256)
name = some.text("abc.:-_09", max_size=60)
values = some.none() | some.integers(-(2**62), 2**62) | some.booleans() | text | some.binary(max_size=9).map(bytearray)
headers = some.dictionaries(text.filter(bool), values | some.lists(values, max_size=3), max_size=4)
deliveries = some.builds(spec.Basic.Deliver, text, some.integers(0, 2**63 - 1), some.booleans(), name, text)
properties = some.builds(
    spec.Basic.Properties,
    content_type=some.none() | text,
    content_encoding=some.none() | text,
    headers=some.none() | headers,
    delivery_mode=some.sampled_from([None, 1, 2]),
    priority=some.none() | some.integers(0, 255),
    correlation_id=some.none() | text,
    reply_to=some.none() | text,
    expiration=some.none() | text,
    message_id=some.none() | text,
    timestamp=some.none() | some.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)),  # noqa: DTZ001 - no zone either
    message_type=some.none() | text,
    user_id=some.none() | text,
    app_id=some.none() | text,
)
all_frames = some.one_of(
    deliveries,
    some.builds(spec.Basic.Ack, some.integers(0, 2**63 - 1), some.booleans()),
    some.builds(spec.Basic.Nack, some.integers(0, 2**63 - 1), some.booleans(), some.booleans()),
    some.builds(ContentHeader, some.just(0), some.integers(0, 2**63 - 1), properties),
    some.builds(ContentBody, some.binary(min_size=1, max_size=300)),
    some.just(spec.Channel.CloseOk()),
)
marshalled = some.builds(pamqp.frame.marshal, all_frames, some.integers(0, 65535))


def shown(frame: Any) -> Any:
    """All that is in a frame."""
    if isinstance(frame, ContentHeader):
        return frame.class_id, frame.weight, frame.body_size, shown(frame.properties)
    if isinstance(frame, ContentBody):
        return frame.value
    return type(frame), [(type(getattr(frame, slot)), getattr(frame, slot)) for slot in getattr(frame, "__slots__", [])]


def outcome(read: Any, data: bytes) -> Any:
    """What is read, or what is raised."""
    try:
        size, channel, frame = read(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the same
        return type(error), re.sub(" at 0x[0-9a-f]+", "", str(error))
    return size, channel, shown(frame)


@given(marshalled)
def test_a_frame_that_is_right(data: bytes) -> None:
    assert outcome(frames.unmarshal, data) == outcome(frames.pamqps_own, data)


@given(marshalled, some.integers(0, 400), some.binary(max_size=4), some.integers(0, 8))
def test_a_frame_that_is_cut_or_changed(data: bytes, at: int, instead: bytes, gone: int) -> None:
    changed = data[: at % len(data)] + instead + data[at % len(data) + gone :]
    assert outcome(frames.unmarshal, changed) == outcome(frames.pamqps_own, changed)


@given(marshalled, some.integers(0, 400), some.binary(max_size=4), some.integers(0, 8))
def test_a_frame_whose_content_is_changed_under_a_right_head_and_end(
    data: bytes, at: int, instead: bytes, gone: int
) -> None:
    content = data[7:-1]
    at %= len(content)
    content = content[:at] + instead + content[at + gone :]
    changed = data[:3] + len(content).to_bytes(4, "big") + content + data[-1:]
    assert outcome(frames.unmarshal, changed) == outcome(frames.pamqps_own, changed)


@pytest.mark.parametrize(
    "frame",
    [
        spec.Basic.Deliver("tag", 1, True, "", "q"),
        spec.Basic.Ack(1, True),
        ContentHeader(0, 7, spec.Basic.Properties(content_type="x", headers={"a": 1}, delivery_mode=2)),
        ContentBody(b"x"),
    ],
    ids=lambda frame: str(frame.name),
)
def test_what_comes_with_every_message_is_not_left_to_pamqp(frame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pamqp.frame.marshal(frame, 3)
    wanted = outcome(frames.pamqps_own, data)
    monkeypatch.setattr(frames, "pamqps_own", None)
    assert outcome(frames.unmarshal, data) == wanted


def test_aiormq_reads_by_it() -> None:
    assert pamqp.frame.unmarshal is frames.unmarshal
    assert aiormq.connection.FrameReceiver is frames.FrameReceiver


async def received(receiver: Any, parts: list[bytes]) -> list[Any]:
    """What comes out of a stream that gets these parts and ends then, and what ends it."""
    reader = asyncio.StreamReader()

    async def feed() -> None:
        for part in parts:
            reader.feed_data(part)
            await asyncio.sleep(0)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    found: list[Any] = []
    try:
        async for size, channel, frame in receiver(reader):
            found.append((size, channel, shown(frame)))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the same
        found.append(type(error))
    await feeding
    return found


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """The stream in parts of these sizes; the last one is what is left."""
    parts = []
    for size in sizes:
        parts.append(stream[:size])
        stream = stream[size:]
    return [part for part in [*parts, stream] if part]


@given(some.lists(marshalled, max_size=12), some.lists(some.integers(1, 400), max_size=30), some.integers(0, 9))
@example([b"AMQP\x00\x00\x09\x01"], [2], 0)
@example([b"AMQP\x00\x00\x09\x01"], [], 0)
@example([b"\x09" * 30], [], 0)
def test_a_stream_gives_the_same_frames_however_it_comes_in_parts(
    stream: list[bytes], sizes: list[int], missing: int
) -> None:
    whole = b"".join(stream)
    parts = cut(whole[: len(whole) - missing], sizes)
    ours = asyncio.run(received(frames.FrameReceiver, parts))
    assert ours == asyncio.run(received(AIORMQS_OWN, parts))


def test_a_stream_that_ends_has_the_cause_by_which_a_refusal_is_known() -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"\x15\x03\x03\x00\x02\x02\x46")  # an alert of TLS
        reader.feed_eof()
        with pytest.raises(aiormq.exceptions.AMQPConnectionError) as caught:
            await frames.FrameReceiver(reader).get_frame()
        assert isinstance(caught.value.__cause__, asyncio.IncompleteReadError)

    asyncio.run(main())


def test_a_connection_that_is_reset_is_a_lost_connection() -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.set_exception(ConnectionResetError("by peer"))
        with pytest.raises(aiormq.exceptions.AMQPConnectionError, match="by peer"):
            await frames.FrameReceiver(reader).get_frame()

    asyncio.run(main())
