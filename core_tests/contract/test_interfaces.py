"""Every promise of `interfaces.py`, on every provider."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest

from app.queue.errors import AckLostError, BrokerError, DeliveryLostError, PublishError, UnroutableError
from app.queue.interfaces import Arrival, Delivery, Message, Place
from app.queue.messages.headers import History, with_failure
from app.queue.messages.outcome import Reason
from app.queue.setup import get_dead_letters, get_health_check, get_processor
from core_tests.contract.subject import BODY, Subject
from core_tests.tools.waiting import eventually

KEPT_PLACES = (Place.DLQ, Place.QUARANTINE, Place.PARKED)


async def test_a_published_message_comes_as_it_was_sent(subject: Subject) -> None:
    body = '{"type": "x", "text": "\u00e4\U0001f642", "n": 1.0}'
    headers = {"traceparent": "00-abc", "tenant": 7, "\u00fcber": "\u00e4\U0001f642", "flag": True, "list": [1, "two"]}
    async with subject.inbox() as inbox, subject.publisher() as publisher:
        message_id = await publisher.publish_message(subject.name, body, message_id="mine", headers=headers)
        (delivery,) = await inbox.has(1)
        await inbox.processor.ack(delivery)
    assert message_id == delivery.message.message_id == delivery.identity == "mine"
    assert delivery.message.body == body.encode()
    assert dict(delivery.message.headers) == headers
    assert delivery.queue == subject.name
    assert delivery.arrival is Arrival.NEW


async def test_a_body_that_is_no_text_comes_as_it_was_sent(subject: Subject) -> None:
    body = bytes(range(256))
    async with subject.inbox() as inbox, subject.publisher() as publisher:
        await publisher.publish_message(subject.name, body)
        (delivery,) = await inbox.has(1)
    assert delivery.message.body == body


async def test_a_message_to_no_queue_is_an_error(subject: Subject) -> None:
    async with subject.publisher() as publisher:
        with pytest.raises(UnroutableError):
            await publisher.publish_message(f"{subject.name}_nowhere", BODY)


async def test_what_is_published_before_any_consumer_is_kept(subject: Subject) -> None:
    ids = await subject.publish(3)
    async with subject.inbox() as inbox:
        await inbox.has(3)
    assert sorted(inbox.ids) == sorted(ids)
    assert all(delivery.arrival is Arrival.NEW for delivery in inbox.deliveries)


async def test_messages_come_in_order_while_nothing_fails(subject: Subject) -> None:
    subject.needs("ordered")
    async with subject.inbox(prefetch=10) as inbox:
        ids = await subject.publish(100)
        settled = 0
        while settled < 100:
            deliveries = await inbox.has(settled + 1)
            for delivery in deliveries[settled:]:
                await inbox.processor.ack(delivery)
                settled += 1
    assert inbox.ids == ids


async def test_an_acked_message_never_comes_again(subject: Subject) -> None:
    await subject.publish(5)
    async with subject.inbox() as inbox:
        await asyncio.gather(*(inbox.processor.ack(delivery) for delivery in await inbox.has(5)))
    (last,) = await subject.publish(1)
    async with subject.inbox() as inbox:
        await inbox.has(1)
        await asyncio.sleep(0.3)
    assert inbox.ids == [last]


async def test_what_is_not_settled_comes_again_and_says_so(subject: Subject) -> None:
    ids = await subject.publish(3)
    async with subject.inbox() as inbox:
        await inbox.has(3)
    async with subject.inbox() as again:
        await again.has(3)
        await asyncio.gather(*(again.processor.ack(delivery) for delivery in again.deliveries))
    assert sorted(again.ids) == sorted(ids)
    assert all(delivery.arrival is Arrival.ABANDONED for delivery in again.deliveries)


async def test_what_a_consumer_did_not_settle_comes_again_to_it_as_its_own(subject: Subject) -> None:
    ids = await subject.publish(3)
    async with subject.inbox() as inbox:
        await inbox.has(3)
        await inbox.consumer.close()
        inbox.deliveries.clear()
        await inbox.consumer.open()
        await inbox.has(3)
        arrivals = {str(delivery.arrival) for delivery in inbox.deliveries}
        assert arrivals == {"ours"}, f"closed, and opened again with nobody else there: they come as {arrivals}"
    assert sorted(inbox.ids) == sorted(ids)


async def test_what_another_consumer_had_since_is_not_ours_any_more(subject: Subject) -> None:
    if not subject.claims.knows_holder:
        pytest.skip(f"{subject.candidate.provider} does not claim to know who had a message")
    await subject.publish(3)
    async with subject.inbox() as inbox:
        await inbox.has(3)
        await inbox.consumer.close()
        inbox.deliveries.clear()
        async with subject.inbox() as other:
            await other.has(3)
        await inbox.consumer.open()
        await inbox.has(3)
        assert all(delivery.arrival is Arrival.ABANDONED for delivery in inbox.deliveries)


async def test_no_more_is_in_hand_than_prefetch_allows(subject: Subject) -> None:
    await subject.publish(10)
    async with subject.inbox(prefetch=3, concurrency=3) as inbox:
        (first, *_) = await inbox.has(3)
        await asyncio.sleep(0.3)
        assert len(inbox.deliveries) == 3
        await inbox.processor.ack(first)
        await inbox.has(4)
        await asyncio.sleep(0.3)
        assert len(inbox.deliveries) == 4


async def test_competing_consumers_share_the_messages(subject: Subject) -> None:
    await subject.declare()
    async with subject.inbox(prefetch=5, concurrency=5) as one, subject.inbox(prefetch=5, concurrency=5) as other:
        ids = await subject.publish(40)
        deadline = time.monotonic() + 30
        settled: list[Delivery] = []
        while len(settled) < 40 and time.monotonic() < deadline:
            for inbox in (one, other):
                for delivery in [delivery for delivery in inbox.deliveries if delivery not in settled]:
                    settled.append(delivery)
                    await inbox.processor.ack(delivery)
            await asyncio.sleep(0.01)
    assert sorted(one.ids + other.ids) == sorted(ids)
    assert one.ids
    assert other.ids


async def test_a_stopped_intake_receives_nothing_and_settles_what_is_in_hand(subject: Subject) -> None:
    async with subject.inbox() as inbox:
        await subject.publish(1)
        (first,) = await inbox.has(1)
        await inbox.consumer.stop_intake()
        assert not inbox.consumer.registered
        (second,) = await subject.publish(1)
        await inbox.processor.ack(first)
        await asyncio.sleep(0.3)
        assert len(inbox.deliveries) == 1
        await inbox.consumer.start_intake()
        assert inbox.consumer.registered
        await inbox.has(2)
    assert inbox.ids[1] == second


@pytest.mark.parametrize("place", KEPT_PLACES)
async def test_a_message_that_is_handed_over_is_there_and_nowhere_else(subject: Subject, place: Place) -> None:
    async with subject.inbox() as inbox:
        (message_id,) = await subject.publish(1)
        (delivery,) = await inbox.has(1)
        await inbox.processor.move(delivery, changed(delivery), place)
    assert await subject.depth(place) == 1
    (message,) = await subject.take_all(place)
    assert await subject.depth(place) == 0
    assert (message.message_id, message.body, message.headers["seen"]) == (message_id, delivery.message.body, "yes")
    async with subject.inbox() as inbox:
        await asyncio.sleep(0.3)
        assert not inbox.deliveries


async def test_a_message_that_is_returned_comes_from_the_tail_as_new(subject: Subject) -> None:
    first, second = await subject.publish(2)
    async with subject.inbox(prefetch=1, concurrency=1) as inbox:
        (delivery,) = await inbox.has(1)
        await inbox.processor.move(delivery, changed(delivery), Place.QUEUE)
        await inbox.has(2)
        await inbox.processor.ack(inbox.deliveries[1])
        await inbox.has(3)
    assert inbox.ids == [first, second, first]
    assert inbox.deliveries[2].message.headers["seen"] == "yes"
    assert inbox.deliveries[2].arrival is Arrival.NEW


async def test_a_retry_comes_after_its_delay_and_not_before_it(subject: Subject) -> None:
    await subject.publish(2)
    came: dict[str, float] = {}
    async with subject.inbox(retry={"max_attempts": 3, "initial_delay": 1, "multiplier": 2}) as inbox:
        slow, soon = await inbox.has(2)
        began = time.monotonic()
        await inbox.processor.move(slow, changed(slow), Place.RETRY, 2.0)
        await inbox.processor.move(soon, changed(soon), Place.RETRY, 1.0)
        for number in (3, 4):
            delivery = (await inbox.has(number))[-1]
            came[delivery.message.message_id] = time.monotonic() - began
            assert delivery.arrival is Arrival.NEW
            assert delivery.message.headers["seen"] == "yes"
    # Nothing is said of their order, which is not promised: only that neither is early.
    assert came[soon.message.message_id] > 0.95
    assert came[slow.message.message_id] > 1.95


async def test_what_waits_for_its_retry_costs_no_prefetch(subject: Subject) -> None:
    ids = await subject.publish(3)
    async with subject.inbox(prefetch=1, concurrency=1) as inbox:
        for number in range(3):
            delivery = (await inbox.has(number + 1))[number]
            await inbox.processor.move(delivery, delivery.message, Place.RETRY, 0.2)
    assert inbox.ids[:3] == ids


async def test_a_message_in_the_dlq_has_its_story(subject: Subject) -> None:
    async with subject.inbox() as inbox:
        await subject.publish(1)
        (delivery,) = await inbox.has(1)
        error = RuntimeError("\u00e4 text\nof two lines")
        past = with_failure(
            delivery.message, History(attempts=3), queue=subject.name, reason=Reason.EXHAUSTED, error=error
        )
        await inbox.processor.move(delivery, past, Place.DLQ)
    (dead,) = await subject.take_all(Place.DLQ)
    assert {name: dead.headers.get(name) for name in past.headers} == past.headers


async def test_a_delivery_whose_link_is_closed_can_not_be_settled_and_comes_again(subject: Subject) -> None:
    (message_id,) = await subject.publish(1)
    inbox_processor = get_processor(subject.config())
    async with subject.inbox() as inbox:
        (delivery,) = await inbox.has(1)
    with pytest.raises(DeliveryLostError):
        await inbox_processor.ack(delivery)
    with pytest.raises((DeliveryLostError, AckLostError)):
        await inbox_processor.move(delivery, delivery.message, Place.DLQ)
    await inbox_processor.close()
    async with subject.inbox() as again:
        await again.has(1)
    assert again.ids == [message_id]
    assert await subject.depth(Place.DLQ) == 0


async def test_what_a_reader_took_and_did_not_settle_returns_to_its_place(subject: Subject) -> None:
    async with subject.inbox() as inbox:
        ids = await subject.publish(3)
        for delivery in await inbox.has(3):
            await inbox.processor.move(delivery, delivery.message, Place.DLQ)
    reader, processor = get_dead_letters(subject.config()), get_processor(subject.config())
    first = await reader.receive()
    second = await reader.receive()
    assert first is not None
    assert second is not None
    await processor.move(second, second.message, Place.PARKED)
    await reader.close()
    await processor.close()
    await reader.close()
    assert await subject.depth(Place.DLQ) == 2
    assert await subject.depth(Place.PARKED) == 1
    left = [message.message_id for message in await subject.take_all(Place.DLQ)]
    assert sorted([*left, second.message.message_id]) == sorted(ids)


async def test_taking_from_an_empty_place_says_that_there_is_nothing(subject: Subject) -> None:
    await subject.declare()
    reader = get_dead_letters(subject.config())
    assert await reader.receive() is None
    assert await reader.depth() == 0
    await reader.close()


async def test_a_consumer_can_be_closed_from_many_sides_at_once_and_opened_again(subject: Subject) -> None:
    ids = await subject.publish(20)
    async with subject.inbox(prefetch=5, concurrency=5) as inbox:
        settling = [asyncio.create_task(inbox.processor.ack(delivery)) for delivery in await inbox.has(5)]
        await asyncio.gather(*(inbox.close() for _ in range(5)))
        results = await asyncio.gather(*settling, return_exceptions=True)
        assert all(result is None or isinstance(result, BrokerError) for result in results)
        assert not inbox.consumer.registered
        lost = asyncio.create_task(inbox.consumer.lost())
        await eventually(lost.done, "a closed link is lost")
        tried = set(inbox.ids)
        acked = {inbox.ids[number] for number, result in enumerate(results) if result is None}
        inbox.deliveries.clear()
        await inbox.consumer.open()
        assert inbox.consumer.registered
        seen: set[str] = set()
        while not seen >= set(ids) - tried:
            delivery = (await inbox.has(len(seen) + 1))[len(seen)]
            seen.add(delivery.message.message_id)
            await inbox.processor.ack(delivery)
    # An ack that was cut off may have worked; one that returned has.
    assert not seen & acked


async def test_a_publisher_can_be_closed_from_many_sides_at_once_and_used_again(subject: Subject) -> None:
    async with subject.publisher(circuit_breaker={"fail_max": 100}) as publisher:
        await publisher.publish_message(subject.name, BODY)
        assert publisher.state == "ready"
        publishing = [asyncio.create_task(publisher.publish_message(subject.name, BODY)) for _ in range(20)]
        await asyncio.sleep(0)
        await asyncio.gather(*(publisher.close() for _ in range(5)))
        results = await asyncio.gather(*publishing, return_exceptions=True)
        assert all(isinstance(result, str | PublishError) for result in results)
        await publisher.publish_message(subject.name, BODY)
        assert publisher.state == "ready"


async def test_many_publish_at_once(subject: Subject) -> None:
    async with subject.publisher() as publisher, subject.inbox(prefetch=500) as inbox:
        ids = await asyncio.gather(*(publisher.publish_message(subject.name, BODY) for _ in range(500)))
        await inbox.has(500)
    assert sorted(inbox.ids) == sorted(ids)


async def test_an_event_loop_that_has_ended_is_not_kept(subject: Subject) -> None:
    def publish_on_a_loop_of_its_own() -> weakref.ref[asyncio.AbstractEventLoop]:
        async def publish() -> weakref.ref[asyncio.AbstractEventLoop]:
            async with subject.publisher() as publisher:
                await publisher.publish_message(subject.name, BODY)
            return weakref.ref(asyncio.get_running_loop())

        return asyncio.run(publish())

    loops = [await asyncio.to_thread(publish_on_a_loop_of_its_own) for _ in range(2)]
    gc.collect()
    assert [loop() for loop in loops] == [None, None]


async def test_the_broker_answers_a_health_check(subject: Subject) -> None:
    async with subject.inbox() as inbox, subject.publisher() as publisher:
        await publisher.publish_message(subject.name, BODY)
        await get_health_check(subject.config()).probe()
        assert inbox.consumer.registered


def changed(delivery: Delivery) -> Message:
    """The message with one more header."""
    message = delivery.message
    return Message(message.body, message.message_id, {**message.headers, "seen": "yes"}, message.properties)
