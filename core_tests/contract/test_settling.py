"""A delivery is settled once, and what settles it touches no other."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.queue.errors import BrokerError
from app.queue.interfaces import Place
from core_tests.contract.subject import QUIET, Subject


async def test_settling_one_delivery_settles_no_other(subject: Subject) -> None:
    ids = await subject.publish(4)
    async with subject.inbox() as inbox:
        by_id = {delivery.message.message_id: delivery for delivery in await inbox.has(4)}
        await inbox.processor.ack(by_id[ids[2]])
        try:
            await inbox.processor.move(by_id[ids[1]], by_id[ids[1]].message, Place.PARKED)
        except BrokerError as error:
            raise AssertionError(f"it was settled by an ack of another one: {error}") from error
        await asyncio.sleep(QUIET)
    async with subject.inbox() as again:
        await again.has(2)
        await again.is_quiet(QUIET)
    assert sorted(again.ids) == sorted([ids[0], ids[3]])


async def test_settling_a_delivery_twice_harms_nobody(subject: Subject) -> None:
    # It may be refused, or a copy of the message lies there: that is a repeat. But no other message is settled by it.
    ids = await subject.publish(4)
    async with subject.inbox() as inbox:
        lost = asyncio.create_task(inbox.consumer.lost())
        by_id = {delivery.message.message_id: delivery for delivery in await inbox.has(4)}
        acked, moved, *others = (by_id[name] for name in ids)
        await inbox.processor.ack(acked)
        await inbox.processor.move(moved, moved.message, Place.PARKED)
        for delivery in (acked, moved):
            await asyncio.sleep(0.2)  # an ack may travel with others
            with suppress(BrokerError):
                await inbox.processor.ack(delivery)
            with suppress(BrokerError):
                await inbox.processor.move(delivery, delivery.message, Place.DLQ)
        await asyncio.sleep(QUIET)
        assert not lost.done(), "the link was lost by it"
        lost.cancel()
        await inbox.processor.ack(others[0])
    async with subject.inbox() as again:
        await again.has(1)
        await again.is_quiet(QUIET)
    assert again.ids == [others[1].message.message_id]
