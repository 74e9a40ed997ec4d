"""What is in flight stays with who has it, however long that takes, and comes to another one when they are gone."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.queue.errors import BrokerError
from app.queue.interfaces import Place
from core_tests.contract.elsewhere import holding
from core_tests.contract.subject import QUIET, Inbox, Subject, came_again
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.slow

LEASES = 2.5
"""For so many leases a handler runs."""


async def settled(inbox: Inbox, number: int = 0) -> None:
    """Ack a delivery that must still be ours."""
    try:
        await inbox.processor.ack(inbox.deliveries[number])
    except BrokerError as error:
        raise AssertionError(f"what was in flight here was taken away: {error}") from error


async def test_a_handler_that_runs_for_longer_than_the_lease_keeps_its_message(subject: Subject) -> None:
    await subject.declare()
    full = {"prefetch": 1, "concurrency": 1}  # or who has it may be the one that takes it over, and so prolong it
    async with subject.inbox(**full) as one, subject.inbox(**full) as other:
        (message_id,) = await subject.publish(1)
        await eventually(lambda: bool(one.deliveries or other.deliveries), "it comes", subject.patience)
        await asyncio.sleep(LEASES * subject.candidate.lease)
        assert one.ids + other.ids == [message_id], "it came to another consumer, and the first one still had it"
        await settled(one if one.deliveries else other)
    async with subject.inbox() as again:
        await again.is_quiet(QUIET)
        assert not again.deliveries, "it was acked, and comes again"


async def test_a_reader_that_takes_longer_than_the_lease_keeps_its_message(subject: Subject) -> None:
    async with subject.inbox() as inbox:
        (message_id,) = await subject.publish(1)
        (delivery,) = await inbox.has(1)
        await inbox.processor.move(delivery, delivery.message, Place.DLQ)
    async with subject.reader() as one, subject.reader() as other:
        taken = await one.receive()
        await asyncio.sleep(LEASES * subject.candidate.lease)
        assert await other.reader.receive() is None, "another reader got what the first one still has"
        try:
            await one.processor.move(taken, taken.message, Place.PARKED)
        except BrokerError as error:
            raise AssertionError(f"what the reader has was taken away: {error}") from error
    assert [message.message_id for message in await subject.take_all(Place.PARKED)] == [message_id]


async def test_what_a_frozen_consumer_has_comes_to_another_one_and_says_so(subject: Subject) -> None:
    async with subject.behind_proxy() as (proxy, keys):
        (message_id,) = await subject.publish(1)
        async with subject.inbox(**keys) as frozen:
            await frozen.has(1)
            await asyncio.sleep(QUIET)  # who acks it now has the time to do so
            proxy.mode("freeze")
            began = time.monotonic()
            async with subject.inbox() as other:
                await eventually(lambda: bool(other.deliveries), "it comes to another consumer", subject.patience)
                assert other.ids == [message_id]
                assert came_again(other.deliveries[0])
                await other.processor.ack(other.deliveries[0])
            took = time.monotonic() - began
            proxy.mode("refuse")
    # A third of it for whoever looks now and then, and the rest for a slow machine.
    assert took < 3 * subject.candidate.lease + 5, f"it took {took:.1f} s, and a lease has {subject.candidate.lease:g}"


async def test_what_a_killed_process_had_comes_to_another_one_and_says_so(subject: Subject) -> None:
    subject.needs("outlives_process")
    (message_id,) = await subject.publish(1)
    async with holding(subject.keys(**subject.candidate.hasty)) as held:
        assert held == [message_id]
        await asyncio.sleep(QUIET)
    async with subject.inbox() as inbox:
        (delivery,) = await inbox.has(1)
        assert inbox.ids == [message_id]
        assert came_again(delivery)
        await inbox.processor.ack(delivery)


async def test_what_was_acked_before_the_link_broke_never_comes_again(subject: Subject) -> None:
    subject.needs("confirms_acks")
    async with subject.behind_proxy() as (proxy, keys):
        await subject.publish(5)
        async with subject.inbox(**keys) as inbox:
            for delivery in await inbox.has(5):
                await inbox.processor.ack(delivery)
            proxy.mode("refuse")
        async with subject.inbox() as again:
            await again.is_quiet(LEASES * subject.candidate.lease)
            assert not again.deliveries, "an ack returned, and the broker had not got it"
