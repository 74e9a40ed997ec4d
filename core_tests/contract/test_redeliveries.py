"""What an instance that has lost its link makes of the messages that come again: nothing is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.consume import quarantine
from app.queue.interfaces import Message, Place
from app.queue.messages.body import encode_json
from app.queue.messages.headers import FRESH, with_history
from app.queue.providers import find_provider
from app.queue.setup import get_dead_letters, get_processor
from core_tests.contract.instance import instance, lose_link
from core_tests.contract.subject import Subject
from core_tests.tools.example import Reject, SendAudioMessage, UserHandler, audio
from core_tests.tools.waiting import eventually


async def replay(subject: Subject) -> None:
    """Send the dead letter back with a fresh history, as the command line does."""
    reader, processor = get_dead_letters(subject.config()), get_processor(subject.config())
    delivery = await reader.receive()
    assert delivery is not None
    await processor.move(delivery, with_history(delivery.message, FRESH), Place.QUEUE)
    await reader.close()
    await processor.close()


async def die_with(subject: Subject, message_id: str) -> None:
    """Another instance receives this message, and ends without settling it."""
    async with subject.inbox() as other:
        await eventually(lambda: message_id in other.ids, "another instance has it in flight")


async def test_a_replayed_message_that_another_instance_died_of_is_run_again(subject: Subject) -> None:
    def reject_once(_: SendAudioMessage) -> None:
        if len(handler.attempts) == 1:
            raise Reject("not yet")

    handler = UserHandler(reject_once)
    async with instance(subject.config(), handler) as worker:
        async with subject.publisher() as publisher:
            message_id = await publisher.publish_message(subject.name, audio())
        await eventually(lambda: subject.holds(Place.DLQ, 1), "it is dead-lettered")
        await lose_link(worker)
        await replay(subject)
        await die_with(subject, message_id)
        await worker.open()
        await eventually(lambda: bool(handler.handled), "it is run again")
    assert [name for name, _ in handler.attempts] == [message_id, message_id]


async def test_a_quarantined_message_that_waits_for_a_slot_outlasts_the_consumers_link(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "ROOM_TIMEOUT", 0.2)
    monkeypatch.setattr(quarantine, "LOOK_EVERY", 0.05)
    released = asyncio.Event()

    async def slow(message: SendAudioMessage) -> None:
        if message.content == "slow":
            await released.wait()

    handler = UserHandler(slow)
    async with instance(subject.config(concurrency=1, prefetch=1), handler) as worker:
        async with subject.publisher() as publisher:
            await publisher.publish_message(subject.name, audio(content="slow"))
        await eventually(lambda: len(handler.attempts) == 1, "the only slot is taken")
        message_id = await put_into_quarantine(subject)
        await eventually(lambda: len(worker.in_flight) == 2, "the quarantined message waits for it")
        await lose_link(worker)
        released.set()
        await worker.open()
        await eventually(lambda: message_id in {name for name, _ in handler.attempts}, "it is run")
        await eventually(lambda: subject.holds(Place.QUARANTINE, 0), "it is settled")


async def put_into_quarantine(subject: Subject) -> str:
    """A message that may have killed a process."""
    async with subject.inbox() as inbox:
        (message_id,) = await subject.publish(1)
        (delivery,) = await inbox.has(1)
        message = delivery.message
        suspected = Message(message.body, message_id, {"queue-crashes": 1}, message.properties)
        await inbox.processor.move(delivery, suspected, Place.QUARANTINE)
    return message_id


# --- copies: what others put into the queue, id, history and all


async def put(subject: Subject, *messages: Message) -> None:
    """Put these messages into the queue as they are, as a tool of the broker's may."""
    async with subject.inbox() as inbox:
        await subject.publish(len(messages))
        carriers = list(await inbox.has(len(messages)))
        await inbox.consumer.stop_intake()
        for delivery, message in zip(carriers, messages, strict=True):
            await inbox.processor.move(delivery, message, Place.QUEUE)


def copy() -> Message:
    return Message(encode_json(audio()), "the same", {"queue-attempts": 1, "queue-moves": 3})


async def test_two_equal_messages_that_come_again_are_handled_twice(subject: Subject) -> None:
    released = asyncio.Event()
    handler = UserHandler(lambda _: released.wait())
    await put(subject, copy(), copy())
    async with instance(subject.config(concurrency=1), handler) as worker:
        await eventually(lambda: len(worker.in_flight) == 2, "both are in flight")
        await eventually(lambda: len(handler.attempts) == 1, "one runs")
        await lose_link(worker)
        await worker.open()
        await asyncio.sleep(0.3)
        assert len(handler.attempts) == 1
        released.set()
        await eventually(lambda: len(handler.handled) == 2, "both are handled")
        await eventually(lambda: subject.holds(Place.QUEUE, 0), "both are settled")
    assert len(handler.attempts) == 2
    assert await subject.depth(Place.QUARANTINE) == await subject.depth(Place.DLQ) == 0


async def test_a_copy_that_another_instance_died_of_is_run_unless_it_is_done(subject: Subject) -> None:
    handler = UserHandler()
    await put(subject, copy())
    async with instance(subject.config(), handler) as worker:
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
        await eventually(lambda: subject.holds(Place.QUEUE, 0), "it is settled")
        await lose_link(worker)
        await put(subject, copy())
        await die_with(subject, "the same")
        await worker.open()
        if find_provider(worker.config.type).claims.confirms_acks:
            await eventually(lambda: len(handler.handled) == 2, "the copy is handled")
        await eventually(lambda: subject.holds(Place.QUARANTINE, 0), "nothing is left")
        await eventually(lambda: len(worker.in_flight) == 0, "all is settled")


async def test_an_import_that_is_done_twice_is_run_twice_if_the_first_was_rejected(subject: Subject) -> None:
    def reject_once(_: SendAudioMessage) -> None:
        if len(handler.attempts) == 1:
            raise Reject("not yet")

    handler = UserHandler(reject_once)
    await put(subject, copy())
    async with instance(subject.config(), handler) as worker:
        await eventually(lambda: subject.holds(Place.DLQ, 1), "it is dead-lettered")
        assert await subject.take_all(Place.DLQ), "it is discarded"
        await lose_link(worker)
        await put(subject, copy())
        await die_with(subject, "the same")
        await worker.open()
        await eventually(lambda: len(handler.handled) == 1, "the second one is run")
