"""Other people's messages, with each provider underneath: how they write JSON, and what they move by hand."""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

from app.queue.interfaces import Place
from core_tests.contract.subject import Subject
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, running
from core_tests.tools.waiting import eventually

LIMIT = 10_000
PLAIN = json.dumps(audio(content="ä" * 50)).encode()
BOMB = json.dumps(audio(content="x" * LIMIT)).encode()
raw = zlib.compressobj(wbits=-15)
COMPRESSED = {
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "x-gzip, in large letters": ("X-GZIP", gzip.compress(PLAIN)),
    "gzip, as Spring writes it": ("gzip:UTF-8", gzip.compress(PLAIN)),
    "gzip in two parts": ("gzip", gzip.compress(PLAIN[:20]) + gzip.compress(PLAIN[20:])),
    "gzip of what has a byte order mark": ("gzip", gzip.compress(codecs.BOM_UTF8 + PLAIN)),
    "deflate": ("deflate", zlib.compress(PLAIN)),
    "deflate without a head": ("deflate", raw.compress(PLAIN) + raw.flush()),
}
NONE = ("", "identity", "binary", "utf-8", "UTF8", "iso-8859-1", "windows-1252")
HOPELESS = {
    "a bomb": ("gzip", gzip.compress(BOMB), "too_large", "more than 10000 bytes"),
    "a bomb of deflate": ("deflate", zlib.compress(BOMB), "too_large", "more than 10000 bytes"),
    "a bomb in parts": (
        "gzip",
        gzip.compress(BOMB[:6000]) + gzip.compress(BOMB[6000:]),
        "too_large",
        "more than 10000",
    ),
    "br": ("br", PLAIN, "bad_encoding", "'br'"),
    "base64": ("base64", PLAIN, "bad_encoding", "'base64'"),
    "two at once": ("gzip, deflate", PLAIN, "bad_encoding", "'gzip, deflate'"),
    "no gzip after all": ("gzip", PLAIN, "bad_encoding", "is not what its content encoding 'gzip' says"),
    "half of it": ("gzip", gzip.compress(PLAIN)[:-9], "bad_encoding", "it ends too early"),
    "compressed and silent about it": ("", gzip.compress(PLAIN), "not_json", "not JSON"),
}


def holds(subject: Subject, place: Place, count: int) -> Callable[[], Awaitable[bool]]:
    """For `eventually()`."""
    return lambda: subject.holds(place, count)


async def test_a_byte_order_mark_is_no_poison_and_stays_with_the_message(subject: Subject) -> None:
    def fail_one(message: SendAudioMessage) -> None:
        if message.user_id == 2:
            raise RuntimeError("no")

    handler = UserHandler(fail_one)
    marked = [codecs.BOM_UTF8 + json.dumps(audio(number)).encode() for number in (1, 2)]
    async with running((subject.config(), handler)), subject.publisher() as publisher:
        for body in marked:
            await publisher.publish_message(subject.name, body)
        await eventually(holds(subject, Place.DLQ, 1), "the one that fails is in the DLQ")
    assert [message.user_id for message in handler.handled] == [1]
    (dead,) = await subject.take_all(Place.DLQ)
    assert (dead.headers["dlq-reason"], dead.body) == ("exhausted", marked[1])


async def test_what_is_compressed_is_undone_for_the_handler_alone(subject: Subject) -> None:
    """Through a retry, the DLQ and a pass, it is the original bytes and says how they are compressed."""
    broken, handled = True, []

    def fail(message: SendAudioMessage) -> None:
        if broken:
            raise RuntimeError("not yet")
        handled.append(message.content)

    async with subject.publisher() as publisher:
        ids = {
            await publisher.publish_message(subject.name, body, headers={"Content-Encoding": encoding}): (
                encoding,
                body,
            )
            for encoding, body in COMPRESSED.values()
        }
    handler = UserHandler(fail)
    async with running((subject.config(pause={"after": 0}), handler)):
        await eventually(holds(subject, Place.DLQ, len(ids)), "all are in the DLQ")
    async with subject.reader(Place.DLQ) as reader:
        deliveries = [await reader.receive() for _ in ids]
        found = {
            delivery.message.message_id: (delivery.message.headers["Content-Encoding"], delivery.message.body)
            for delivery in deliveries
        }
        assert found == ids
        assert {delivery.message.headers["dlq-reason"] for delivery in deliveries} == {"exhausted"}
    broken = False
    async with running((subject.config(dlq={"retry_interval": 0.3}), handler)):
        await eventually(lambda: len(handled) == len(ids), "all came back, and are handled", 60)
    assert set(handled) == {"ä" * 50}


async def test_a_charset_and_the_like_mean_no_encoding(subject: Subject) -> None:
    handler = UserHandler()
    async with running((subject.config(), handler)), subject.publisher() as publisher:
        for encoding in NONE:
            await publisher.publish_message(subject.name, PLAIN, headers={"content-encoding": encoding})
        await eventually(lambda: len(handler.handled) == len(NONE), "all are handled")


async def test_what_can_not_be_undone_is_dead_lettered_with_its_encoding_and_parked(subject: Subject) -> None:
    async with subject.publisher() as publisher:
        expected = {
            await publisher.publish_message(subject.name, body, headers={"content-encoding": encoding}): (
                (reason, body, encoding),
                said,
            )
            for encoding, body, reason, said in HOPELESS.values()
        }
    handler = UserHandler()
    config = subject.config(max_message_bytes=LIMIT, dlq={"retry_interval": 0.3})
    async with running((config, handler)):
        await eventually(holds(subject, Place.PARKED, len(expected)), "all are parked")
    assert handler.attempts == []
    parked = {message.message_id: message for message in await subject.take_all(Place.PARKED)}
    for name, (what, said) in expected.items():
        headers = parked[name].headers
        assert (headers["dlq-reason"], parked[name].body, headers["content-encoding"]) == what
        assert said in headers["dlq-exception-message"]


async def test_what_a_person_moves_back_by_hand_has_fresh_attempts_and_is_parked_in_the_end(subject: Subject) -> None:
    """A copy with all that it has, as the tools of brokers make it, until the passes have enough of it."""

    def fail(_: object) -> None:
        raise RuntimeError("no")

    async def move_by_hand(source: Place) -> dict[str, Any]:
        (dead,) = await subject.take_all(source)
        async with subject.publisher() as publisher:  # under a new id, for some brokers drop repeats
            await publisher.publish_message(subject.name, dead.body, headers=dead.headers)
        return dict(dead.headers)

    handler = UserHandler(fail)
    async with running((subject.config(), handler)), subject.publisher() as publisher:
        await publisher.publish_message(subject.name, audio(), headers={"traceparent": "00-abc"})
        for moved in range(3):
            await eventually(holds(subject, Place.DLQ, 1), "it is in the DLQ")
            assert [attempt for _, attempt in handler.attempts] == [1, 2, 3] * (moved + 1)
            headers = await move_by_hand(Place.DLQ)
            found = (headers["dlq-attempts"], headers.get("queue-replays", 0), headers["traceparent"])
            assert found == (3, moved, "00-abc")
        await eventually(holds(subject, Place.DLQ, 1), "it is in the DLQ again")
    async with running((subject.config(dlq={"retry_interval": 0.3, "max_retries": 3}), handler)):
        await eventually(holds(subject, Place.PARKED, 1), "it is parked")
        assert len(handler.attempts) == 12, "no pass has sent it back"
        await move_by_hand(Place.PARKED)
        await eventually(holds(subject, Place.PARKED, 1), "it is parked again")
        assert len(handler.attempts) == 15
