"""What the core promises, with each provider underneath: a whole service, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from app.queue.interfaces import Message, Place
from app.queue.publishing import publish
from core_tests.contract.subject import Subject
from core_tests.tools.example import Reject, SendAudioMessage, UserHandler, audio, running
from core_tests.tools.waiting import eventually

POISON = {
    "not UTF-8": (b"\xff\xfe", "not_json"),
    "empty": (b"", "not_json"),
    "half of it": (b'{"type": "send_au', "not_json"),
    "no object": (b"[1, 2]", "not_an_object"),
    "no type": (b'{"user_id": 1}', "no_type"),
    "a type that is no text": (b'{"type": {"a": 1}}', "no_type"),
    "an unknown type": (b'{"type": "other"}', "unknown_type"),
    "a wrong payload": (b'{"type": "send_audio", "user_id": "x"}', "invalid_payload"),
    "too large": (json.dumps(audio(content="x" * 2000)).encode(), "too_large"),
}


def fail(_: object) -> None:
    raise RuntimeError("it never works")


def has(subject: Subject, count: int, place: Place) -> Callable[[], Awaitable[bool]]:
    """For `eventually()`: so many messages lie there."""

    async def condition() -> bool:
        return await subject.depth(place) == count

    return condition


async def test_what_always_fails_is_tried_max_attempts_times_and_is_in_the_dlq_with_its_story(subject: Subject) -> None:
    handler = UserHandler(fail)
    async with running((subject.config(), handler)):
        message_id = await publish(subject.name, audio(), headers={"traceparent": "00-abc"})
        await eventually(has(subject, 1, Place.DLQ), "it is dead-lettered")
    assert handler.attempts == [(message_id, 1), (message_id, 2), (message_id, 3)]
    (dead,) = await subject.take_all(Place.DLQ)
    assert dead.message_id == message_id
    assert dead.headers["traceparent"] == "00-abc"
    assert dead.headers["dlq-reason"] == "exhausted"
    assert dead.headers["dlq-queue"] == subject.name
    assert dead.headers["dlq-attempts"] == 3
    assert dead.headers["dlq-exception-type"] == "builtins.RuntimeError"
    assert "it never works" in dead.headers["dlq-traceback"]


async def test_what_works_at_last_is_handled_once(subject: Subject) -> None:
    tries: list[SendAudioMessage] = []

    def at_the_third(message: SendAudioMessage) -> None:
        tries.append(message)
        if len(tries) < 3:
            raise RuntimeError("not yet")

    handler = UserHandler(at_the_third)
    async with running((subject.config(), handler)):
        await publish(subject.name, audio())
        await eventually(lambda: bool(handler.handled), "it is handled")
    assert len(handler.handled) == 1
    assert await subject.depth(Place.QUEUE) == await subject.depth(Place.DLQ) == 0


async def test_poison_is_in_the_dlq_at_once_and_once_and_costs_what_is_behind_it_nothing(subject: Subject) -> None:
    def refuse(message: SendAudioMessage) -> None:
        if message.content == "refused":
            raise Reject("never")

    # What is larger than the service publishes comes from somebody else.
    async with subject.publisher(max_message_bytes=10_000) as publisher:
        reasons = {await publisher.publish_message(subject.name, body): reason for body, reason in POISON.values()}
        reasons[await publisher.publish_message(subject.name, audio(content="refused"))] = "rejected"
        good = await publisher.publish_message(subject.name, audio())
    handler = UserHandler(refuse)
    async with running((subject.config(max_message_bytes=1000), handler)):
        await eventually(lambda: bool(handler.handled), "the good one is handled")
        await eventually(has(subject, len(reasons), Place.DLQ), "the others are dead-lettered")
    assert [attempt for name, attempt in handler.attempts if name == good] == [1]
    assert len(handler.attempts) == 2
    dead = await subject.take_all(Place.DLQ)
    assert {message.message_id: message.headers["dlq-reason"] for message in dead} == reasons
    bodies = {message.message_id: message.body for message in dead}
    assert set(bodies.values()) >= {body for body, _ in POISON.values()}


async def test_a_pass_sends_dead_letters_back_and_parks_what_keeps_failing_or_never_can_work(subject: Subject) -> None:
    handler = UserHandler(fail)
    config = subject.config(dlq={"retry_interval": 0.3, "max_retries": 1})
    async with running((config, handler)):
        failing = await publish(subject.name, audio())
        hopeless = await publish(subject.name, {"type": "other"})
        await eventually(has(subject, 2, Place.PARKED), "both are parked")
    assert [attempt for _, attempt in handler.attempts] == [1, 2, 3, 1, 2, 3]
    assert await subject.depth(Place.DLQ) == 0
    parked = await subject.take_all(Place.PARKED)
    assert {message.message_id for message in parked} == {failing, hopeless}
    reasons: dict[str, Message] = {message.headers["dlq-reason"]: message for message in parked}
    assert set(reasons) == {"exhausted", "unknown_type"}
    assert reasons["exhausted"].headers["queue-replays"] == 1


async def test_without_a_dlq_what_is_exhausted_ends_and_is_logged_whole(
    subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    handler = UserHandler(fail)
    async with running((subject.config(enable_dlq=False), handler)):
        await publish(subject.name, audio(content="the whole body"))
        await eventually(lambda: "is dropped" in caplog.text, "it is dropped")
    assert len(handler.attempts) == 3
    assert "the whole body" in caplog.text
    assert await subject.depth(Place.QUEUE) == 0


async def test_a_drain_finishes_what_runs_and_keeps_the_rest_unblamed(subject: Subject) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def slow(_: SendAudioMessage) -> None:
        loop.call_soon_threadsafe(begun.set)
        await asyncio.sleep(0.5)

    handler = UserHandler(slow)
    ids = set(await subject.publish(10))
    async with running((subject.config(prefetch=6, concurrency=2), handler)):
        await asyncio.wait_for(begun.wait(), 30)
    finished = {name for name, _ in handler.attempts}
    assert len(handler.handled) == len(handler.attempts) == len(finished) >= 1
    rest = UserHandler()
    async with running((subject.config(), rest)):
        await eventually(lambda: len(rest.handled) == 10 - len(finished), "the others are handled")
        await asyncio.sleep(0.3)
    assert {name for name, _ in rest.attempts} == ids - finished
    assert {attempt for _, attempt in rest.attempts} == {1}
    assert await subject.depth(Place.QUARANTINE) == await subject.depth(Place.DLQ) == 0


async def test_when_everything_fails_consuming_pauses_and_nothing_is_dead_lettered(subject: Subject) -> None:
    broken = True

    def need(_: SendAudioMessage) -> None:
        if broken:
            raise RuntimeError("the database is down")

    handler = UserHandler(need)
    pause = {"after": 5, "initial_delay": 0.1, "max_delay": 0.2}
    async with running((subject.config(pause=pause, retry={"initial_delay": 0.1}), handler)) as service:
        await subject.publish(50)
        await eventually(lambda: service.health().queues[subject.name].consumer == "paused", "it pauses")
        assert service.health().status == "healthy"
        await asyncio.sleep(0.5)
        broken = False
        await eventually(lambda: len(handler.handled) == 50, "all are handled afterwards")
    assert await subject.depth(Place.DLQ) == 0
