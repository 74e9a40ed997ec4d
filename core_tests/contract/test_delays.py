"""A retry's delay is the broker's: never too early, and whoever asked for it may be dead by then."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.queue.interfaces import Place
from core_tests.contract.elsewhere import holding
from core_tests.contract.subject import QUIET, Subject

SHORT, LONG = 1.0, 3.0
"""Seconds. Whole ones, since a broker may know no others."""
RETRY = {"max_attempts": 3, "initial_delay": SHORT, "multiplier": LONG / SHORT}
CLOCKS = 0.2
"""Seconds by which a message may be early: clocks differ, and so does who looks at them."""
DAY = 86_400.0


async def test_a_delay_outlives_the_process_that_asked_for_it(subject: Subject) -> None:
    subject.needs("outlives_process")
    await subject.declare(retry=RETRY)
    (message_id,) = await subject.publish(1)
    began = time.monotonic()
    async with holding(subject.keys(retry=RETRY, **subject.candidate.hasty), LONG) as held:
        assert held == [message_id]
        moved = time.monotonic()
        await asyncio.sleep(QUIET)  # what is sent together with others is sent by then
    async with subject.inbox(retry=RETRY) as inbox:
        await inbox.has(1)
        now = time.monotonic()
    assert inbox.ids == [message_id]
    # It was moved at some time after `began`, and before `moved`.
    assert now - began > LONG - CLOCKS, f"a delay of {LONG:g} s was over after {now - began:.1f} s"
    assert now - moved < LONG + subject.patience


async def test_a_delay_is_not_cut_short_when_its_consumer_is_closed(subject: Subject) -> None:
    await subject.publish(1, retry=RETRY)
    async with subject.inbox(retry=RETRY) as inbox:
        (delivery,) = await inbox.has(1)
        began = time.monotonic()
        await inbox.processor.move(delivery, delivery.message, Place.RETRY, LONG)
    async with subject.inbox(retry=RETRY) as again:
        await again.has(1)
        took = time.monotonic() - began
    assert took > LONG - CLOCKS, f"a delay of {LONG:g} s was over after {took:.1f} s"


async def test_a_short_delay_is_not_held_up_by_a_long_one_before_it(subject: Subject) -> None:
    retry = {"max_attempts": 3, "initial_delay": SHORT, "multiplier": 60}
    await subject.publish(2, retry=retry)
    async with subject.inbox(retry=retry) as inbox:
        slow, soon = await inbox.has(2)
        await inbox.processor.move(slow, slow.message, Place.RETRY, 60 * SHORT)
        await inbox.processor.move(soon, soon.message, Place.RETRY, SHORT)
        await inbox.has(3)
    assert inbox.ids[2:] == [soon.message.message_id]


@pytest.mark.slow
async def test_a_delay_of_a_day_does_not_come_early(subject: Subject) -> None:
    retry = {"max_attempts": 2, "initial_delay": DAY, "max_delay": DAY}
    await subject.publish(1, retry=retry)
    async with subject.inbox(retry=retry) as inbox:
        (delivery,) = await inbox.has(1)
        await inbox.processor.move(delivery, delivery.message, Place.RETRY, DAY)
        await asyncio.sleep(LONG)
        assert len(inbox.deliveries) == 1
    async with subject.inbox(retry=retry) as again:
        await asyncio.sleep(LONG)
        assert not again.deliveries
