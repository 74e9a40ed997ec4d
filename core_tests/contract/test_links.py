"""A link that broke, or is frozen, is known to be: by the probe, the publisher and the consumer. And it is mended."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

from app.queue.errors import BrokerError, PublishError
from app.queue.setup import get_health_check
from core_tests.contract.conftest import Figure
from core_tests.contract.subject import BODY, Subject, is_registered, state_of
from core_tests.tools.waiting import eventually

NOTICED_WITHIN = 15.0
"""Seconds in which a probe must say that the broker does not answer."""
BREAKER = {"fail_max": 100}


async def test_a_link_that_breaks_is_lost_and_can_be_opened_again(subject: Subject) -> None:
    async with (
        subject.behind_proxy() as (proxy, keys),
        subject.inbox(**keys) as inbox,
        subject.publisher(**keys, circuit_breaker=BREAKER) as publisher,
    ):
        await publisher.publish_message(subject.name, BODY)
        (delivery,) = await inbox.has(1)
        await inbox.processor.ack(delivery)
        lost = [asyncio.create_task(link.lost()) for link in (inbox.consumer, publisher)]
        health = get_health_check(subject.config(**keys))
        proxy.mode("refuse")

        async def told() -> bool:
            with suppress(BrokerError):
                await health.probe()  # as the service does, for libraries that say nothing by themselves
            return all(task.done() for task in lost)

        try:
            await eventually(told, "the consumer and the publisher are told so", subject.patience)
            assert all(task.result() for task in lost), "it is not said why"
            assert not is_registered(inbox.consumer), "the consumer says that it would get the next message"
            assert state_of(publisher) == "down"
            with pytest.raises(PublishError):
                await publisher.publish_message(subject.name, BODY)
            with pytest.raises(BrokerError):
                await inbox.consumer.open()
        finally:
            for task in lost:
                task.cancel()
        await inbox.consumer.close()
        proxy.mode("pass")
        await inbox.consumer.open()
        assert is_registered(inbox.consumer)
        before = len(inbox.deliveries)
        await publisher.publish_message(subject.name, BODY)
        assert state_of(publisher) == "ready"
        await inbox.has(before + 1)
        await health.probe()


@pytest.mark.slow
async def test_a_broker_that_is_frozen_is_noticed_and_so_is_its_return(subject: Subject, figure: Figure) -> None:
    async with (
        subject.behind_proxy() as (proxy, keys),
        subject.inbox(**keys) as inbox,
        subject.publisher(**keys, circuit_breaker=BREAKER, publish_timeout=2) as publisher,
    ):
        await publisher.publish_message(subject.name, BODY)
        (delivery,) = await inbox.has(1)
        await inbox.processor.ack(delivery)
        health = get_health_check(subject.config(**keys))
        await health.probe()
        proxy.mode("freeze")
        began = time.monotonic()
        failed = False
        while not failed and time.monotonic() - began < NOTICED_WITHIN:
            try:
                async with asyncio.timeout(NOTICED_WITHIN):
                    await health.probe()
            except BrokerError:
                failed = True
            except TimeoutError:
                raise AssertionError("the probe of a frozen broker does not end") from None
            await asyncio.sleep(0.1)
        assert failed, f"the broker has been frozen for {NOTICED_WITHIN:g} s, and the probe is green"
        figure("a frozen broker is noticed after", f"{time.monotonic() - began:.1f} s")

        async def told() -> bool:
            with suppress(BrokerError):
                await health.probe()
            return not is_registered(inbox.consumer) and state_of(publisher) != "ready"

        await eventually(told, "the consumer and the publisher say so, too", subject.patience)
        with pytest.raises(PublishError):
            await publisher.publish_message(subject.name, BODY)
        closing_at = time.monotonic()
        await inbox.consumer.close()
        assert time.monotonic() - closing_at < 10, "closing waits for a frozen broker"
        proxy.mode("pass")
        await inbox.consumer.open()
        assert is_registered(inbox.consumer)
        name = await publisher.publish_message(subject.name, BODY)
        assert state_of(publisher) == "ready"
        await eventually(lambda: name in inbox.ids, "messages flow again", subject.patience)
        await health.probe()
