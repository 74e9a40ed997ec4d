"""A move never loses a message: not when it is cut in the middle, and nothing of what it carries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.queue.errors import BrokerError, PublishError
from app.queue.interfaces import Delivery, Message, Place, QueueProcessor
from app.queue.messages.headers import History, with_failure
from app.queue.messages.outcome import Reason
from core_tests.contract.subject import KEPT, QUIET, Subject
from core_tests.tools.proxy import Proxy

CUTS = 24
LAST_CUT = 0.010
"""Seconds from the beginning of a move to the last cut."""
MOVE_TIMEOUT = 20.0
GRAIN = 256
"""Bytes."""
RETRY = {"max_attempts": 2, "initial_delay": 0.2}
HEADERS: dict[str, Any] = {
    "queue-attempts": 2,
    "queue-crashes": 3,
    "queue-replays": 1,
    "queue-first-failed-at": "2026-01-02T03:04:05.678+00:00",
    "dlq-reason": "exhausted",
    "dlq-traceback": "Traceback\n  \u00e4\U0001f642",
    "traceparent": "00-abc",
    "tenant": 7,
    "flag": True,
    "list": [1, "two"],
}


@asynccontextmanager
async def one_of(subject: Subject, source: Place, **keys: Any) -> AsyncIterator[tuple[Delivery, QueueProcessor]]:
    """A message of a place in flight, with what settles it."""
    if source is Place.QUEUE:
        async with subject.inbox(prefetch=1, concurrency=1, **keys) as inbox:
            yield (await inbox.has(1))[0], inbox.processor
    else:
        async with subject.reader(source, **keys) as reader:
            try:
                delivery = await reader.receive()
            except BrokerError:  # the end of a link that others share may be known only by now
                delivery = await reader.receive()
            yield delivery, reader.processor


async def cut(proxy: Proxy, after: float, move: asyncio.Task[None]) -> None:
    """Break the link so many seconds after now, keep it broken until the move has ended, and mend it."""
    await asyncio.sleep(after)
    proxy.mode("refuse")
    done, _ = await asyncio.wait([move], timeout=MOVE_TIMEOUT)
    assert done, "a move over a broken link never ends"
    error = move.exception()
    assert error is None or isinstance(error, BrokerError), f"a move over a broken link raises {error!r}"
    proxy.mode("pass")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(Place.QUEUE, Place.DLQ, id="to the DLQ"),
        pytest.param(Place.QUEUE, Place.RETRY, id="to a retry"),
        pytest.param(Place.DLQ, Place.QUEUE, id="back from the DLQ"),
    ],
)
async def test_a_move_that_is_cut_anywhere_loses_nothing(subject: Subject, source: Place, target: Place) -> None:
    async with subject.behind_proxy() as (proxy, through_it):
        keys = {**through_it, "retry": RETRY}
        await subject.declare(retry=RETRY)
        ids = await subject.publish(CUTS)
        if source is not Place.QUEUE:
            async with subject.inbox(prefetch=CUTS) as inbox:
                for delivery in await inbox.has(CUTS):
                    await inbox.processor.move(delivery, delivery.message, source)
        for number in range(CUTS):
            async with one_of(subject, source, **keys) as (delivery, processor):
                delay = 0.2 if target is Place.RETRY else 0.0
                move = asyncio.create_task(processor.move(delivery, delivery.message, target, delay))
                await cut(proxy, LAST_CUT * number / CUTS, move)
    found = {message.message_id for message in await subject.everywhere(ids)}
    assert not set(ids) - found, f"{len(set(ids) - found)} of {CUTS} messages are in no place any more"


async def test_every_header_survives_every_place(subject: Subject) -> None:
    def assert_all_there(delivery: Delivery, where: str) -> None:
        got = delivery.message.headers
        assert {name: got.get(name) for name in HEADERS} == HEADERS, where
        assert delivery.message.message_id == message_id, where
        assert delivery.message.body == body, where

    body = bytes(range(256))
    async with subject.publisher(retry=RETRY) as publisher, subject.inbox(retry=RETRY) as inbox:
        message_id = await publisher.publish_message(subject.name, body, headers=HEADERS)
        came = 0

        async def comes(where: str) -> Delivery:
            nonlocal came
            came += 1
            delivery = (await inbox.has(came))[came - 1]
            assert_all_there(delivery, where)
            return delivery

        delivery = await comes("published")
        await inbox.processor.move(delivery, delivery.message, Place.QUEUE)
        delivery = await comes("moved to the queue")
        await inbox.processor.move(delivery, delivery.message, Place.RETRY, 0.2)
        delivery = await comes("moved to a retry")
        for place in KEPT:
            await inbox.processor.move(delivery, delivery.message, place)
            async with subject.reader(place) as reader:
                kept = await reader.receive()
                assert_all_there(kept, f"moved to {place}")
                await reader.processor.move(kept, kept.message, Place.QUEUE)
            delivery = await comes(f"moved back from {place}")
        await inbox.processor.ack(delivery)


async def largest(subject: Subject) -> int:
    """How many bytes a body has at most that can be published, less GRAIN. Those that were tried are taken out."""
    limit = subject.config().max_message_bytes
    async with subject.publisher(circuit_breaker={"fail_max": 100}) as publisher:

        async def takes(size: int) -> bool:
            try:
                await publisher.publish_message(subject.name, b"x" * size)
            except PublishError as error:
                if error.may_have_landed:
                    raise
                return False
            return True

        less = 0
        while not await takes(limit - less):
            less = 2 * less or GRAIN
        good, bad = limit - less, limit - less // 2
        while less and bad - good > GRAIN:
            middle = (good + bad) // 2
            good, bad = (middle, bad) if await takes(middle) else (good, middle)
    async with subject.inbox(prefetch=50) as inbox:
        await inbox.has(1)
        await inbox.is_quiet(QUIET)
        for delivery in inbox.deliveries:
            await inbox.processor.ack(delivery)
    return good


async def test_the_largest_message_that_can_be_published_can_be_moved(subject: Subject) -> None:
    size = await largest(subject)
    history = History(attempts=3, crashes=2, replays=1, first_failed_at="2026-01-02T03:04:05.678+00:00")
    error = RuntimeError("x" * 10_000)
    async with subject.publisher() as publisher:
        ids = [await publisher.publish_message(subject.name, b"x" * size) for _ in range(3)]
    async with subject.inbox(retry=RETRY) as inbox:
        for place, delivery in zip((Place.DLQ, Place.QUARANTINE, Place.RETRY), await inbox.has(3), strict=True):
            message = with_failure(delivery.message, history, queue=subject.name, reason=Reason.EXHAUSTED, error=error)
            try:
                await inbox.processor.move(delivery, message, place, 0.2 if place is Place.RETRY else 0.0)
            except BrokerError as failed:
                raise AssertionError(f"a message of {size} bytes can be published, and not moved: {failed}") from failed
        retried = (await inbox.has(4))[3]
        await inbox.processor.ack(retried)
    moved = [*await subject.take_all(Place.DLQ), *await subject.take_all(Place.QUARANTINE), retried.message]
    assert sorted(message.message_id for message in moved) == sorted(ids)
    assert [len(message.body) for message in moved] == [size] * 3
    assert [message.headers["queue-crashes"] for message in moved] == [2] * 3


async def test_a_move_that_is_too_large_ends_loses_nothing_and_stops_nobody(subject: Subject) -> None:
    ids = await subject.publish(2)
    async with subject.inbox() as inbox:
        first, second = await inbox.has(2)
        huge = Message(first.message.body, first.message.message_id, {"foreign": "x" * 2_000_000})
        try:
            async with asyncio.timeout(MOVE_TIMEOUT):
                await inbox.processor.move(first, huge, Place.DLQ)
        except BrokerError:
            pass
        except TimeoutError:
            raise AssertionError("a move that is too large never ends") from None
        await asyncio.sleep(QUIET)
        async with asyncio.timeout(MOVE_TIMEOUT):
            await inbox.processor.move(second, second.message, Place.DLQ)
    assert {message.message_id for message in await subject.everywhere(ids)} == set(ids)
