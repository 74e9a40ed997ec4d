"""What every provider survives: its server killed under load, its server full, its service killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.queue.errors import BrokerError, PublisherBlockedError, PublishError
from app.queue.interfaces import Arrival, Place, PublisherState, QueuePublisher
from app.queue.setup import get_health_check
from core_tests.contract.conftest import Figure
from core_tests.contract.subject import BODY, Sender, Subject
from core_tests.tools.ledger import Ledger, check
from core_tests.tools.process import ServiceProcess
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOAD = 2500
"""Messages that are handled before each kill of the broker, and after the last."""


@asynccontextmanager
async def service_of(subject: Subject, folder: Path, **keys: Any) -> AsyncIterator[tuple[ServiceProcess, Ledger]]:
    """A real process that consumes the subject's queue and keeps a ledger; killed at the end."""
    document = yaml.safe_dump({"queues": [subject.keys(**keys)], "drain": {"delay": 0, "timeout": 10}})
    ledger = Ledger(folder / "ledger")
    service = ServiceProcess("core_tests.tools.ledger_service", document, folder, LEDGER=str(ledger.path))
    try:
        await asyncio.to_thread(service.start)
        yield service, ledger
    finally:
        await asyncio.to_thread(service.kill)
        ledger.close()


async def assert_nothing_is_elsewhere(subject: Subject) -> None:
    for place in (Place.QUARANTINE, Place.DLQ, Place.PARKED):
        await eventually(partial(is_empty, subject, place), f"nothing is left in {place}", 60)


async def is_empty(subject: Subject, place: Place) -> bool:
    return await subject.depth(place) == 0


async def handled(ledger: Ledger, count: int) -> None:
    """Wait until so many more messages are handled."""
    before = ledger.count()
    await eventually(lambda: ledger.count() >= before + count, f"{count} more messages are handled", 120)


async def test_a_broker_that_is_killed_under_load_loses_nothing(
    private: Subject, tmp_path: Path, figure: Figure
) -> None:
    private.needs("outlives_broker")
    node = private.node
    breaker = {"fail_max": 5, "reset_timeout": 0.5}
    async with (
        service_of(private, tmp_path, prefetch=50, concurrency=50) as (_, ledger),
        private.publisher(circuit_breaker=breaker) as publisher,
    ):
        sender = Sender(publisher, private.name, {"type": "work"})
        enough = asyncio.Event()
        # For as long as it takes: on a fast machine, a fixed number would be through before the second kill.
        sending = asyncio.create_task(sender.send_until(enough))
        for kill in (1, 2):
            await handled(ledger, LOAD)
            node.kill()
            await asyncio.to_thread(node.start)
            back_at = time.monotonic()
            await handled(ledger, 1)
            figure(f"kill -9 of the broker, {kill}: consuming again after", f"{time.monotonic() - back_at:.1f} s")
        await handled(ledger, LOAD)
        enough.set()
        await asyncio.wait_for(sending, 120)
        await eventually(lambda: sender.confirmed <= ledger.ids(), "all that was confirmed is handled", 120)
        verdict = check(ledger, sender.confirmed, sender.attempted)
        figure("... of all confirmed messages", f"{verdict} of {len(sender.confirmed):,}")
        await assert_nothing_is_elsewhere(private)
    assert not verdict.lost
    assert not verdict.unexpected


async def test_a_service_that_is_killed_loses_nothing_and_blames_nobody(
    subject: Subject, tmp_path: Path, figure: Figure
) -> None:
    subject.needs("outlives_process")
    async with (
        service_of(subject, tmp_path, prefetch=20, concurrency=20) as (service, ledger),
        subject.publisher() as publisher,
    ):
        sender = Sender(publisher, subject.name, {"type": "work", "sleep": 0.01})
        sending = asyncio.create_task(sender.send(2000))
        for _ in range(3):
            await handled(ledger, 400)
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.start)
        await asyncio.wait_for(sending, 60)
        await eventually(lambda: sender.confirmed <= ledger.ids(), "all that was confirmed is handled", 120)
        verdict = check(ledger, sender.confirmed, sender.attempted)
        figure("kill -9 of the service, three times, 2,000 messages", str(verdict))
        await assert_nothing_is_elsewhere(subject)
    assert not verdict.lost
    assert not verdict.unexpected


async def test_what_was_in_hand_of_a_killed_service_comes_again_and_says_so(
    subject: Subject, tmp_path: Path, figure: Figure
) -> None:
    subject.needs("outlives_process")
    await subject.declare()
    async with service_of(subject, tmp_path) as (service, ledger), subject.publisher() as publisher:
        name = await publisher.publish_message(subject.name, {"type": "work", "sleep": 60})
        await eventually(lambda: name in ledger.ids("begin"), "it is in flight")
        await asyncio.to_thread(service.kill)
        died_at = time.monotonic()
        async with subject.inbox() as inbox:
            (delivery,) = await inbox.has(1)
            figure("what a dead process had in flight comes again after", f"{time.monotonic() - died_at:.1f} s")
            await inbox.processor.ack(delivery)
    assert delivery.message.message_id == name
    assert delivery.arrival is Arrival.ABANDONED


async def test_a_retrys_delay_outlives_the_broker(private: Subject) -> None:
    private.needs("outlives_broker")
    keys: dict[str, Any] = {"retry": {"max_attempts": 3, "initial_delay": 3}}
    (name,) = await private.publish(1, **keys)
    async with private.inbox(**keys) as inbox:
        (delivery,) = await inbox.has(1)
        began = time.monotonic()
        await inbox.processor.move(delivery, delivery.message, Place.RETRY, 3.0)
    private.node.kill()
    await asyncio.to_thread(private.node.start)
    async with private.inbox(**keys) as inbox:
        await inbox.has(1)
        assert time.monotonic() - began > 2.8
        assert inbox.ids == [name]


async def test_a_link_is_lost_with_its_broker_and_can_be_opened_again(private: Subject) -> None:
    node = private.node
    async with private.inbox() as inbox, private.publisher(circuit_breaker={"fail_max": 100}) as publisher:
        await publisher.publish_message(private.name, BODY)
        (delivery,) = await inbox.has(1)
        await inbox.processor.ack(delivery)
        lost = [asyncio.create_task(link.lost()) for link in (inbox.consumer, publisher)]
        node.kill()
        check = get_health_check(private.config())

        async def told() -> bool:
            with suppress(BrokerError):
                await check.probe()  # as the service does now and then, for libraries that say nothing by themselves
            return all(task.done() for task in lost)

        await eventually(told, "both are told so")
        assert all(task.result() for task in lost)
        assert not inbox.consumer.registered
        assert publisher.state == "down"
        with pytest.raises(PublishError):
            await publisher.publish_message(private.name, BODY)
        with pytest.raises(BrokerError):
            await inbox.consumer.open()
        await inbox.consumer.close()
        await asyncio.to_thread(node.start)
        await inbox.consumer.open()
        assert inbox.consumer.registered
        await publisher.publish_message(private.name, BODY)
        assert publisher.state == "ready"
        await inbox.has(2)


async def test_a_broker_that_takes_nothing_says_so_and_loses_nothing(private: Subject, figure: Figure) -> None:
    private.needs("says_blocked")
    assert private.candidate.block is not None
    await private.declare()
    async with private.publisher(circuit_breaker={"fail_max": 100}) as publisher, private.inbox() as inbox:
        before = await publisher.publish_message(private.name, BODY)
        await inbox.has(1)
        with private.candidate.block(private.node):
            began = time.monotonic()
            with pytest.raises(PublisherBlockedError):
                await publisher.publish_message(private.name, BODY)
            figure("publishing to a full broker fails after", f"{time.monotonic() - began:.1f} s")
            assert state(publisher) == "blocked"
            with pytest.raises(BrokerError):
                await inbox.processor.move(inbox.deliveries[0], inbox.deliveries[0].message, Place.DLQ)
        await eventually(partial(publishes, publisher, private.name), "it takes messages again", 60)
        assert state(publisher) == "ready"
        await inbox.processor.move(inbox.deliveries[0], inbox.deliveries[0].message, Place.DLQ)
    assert [message.message_id for message in await private.take_all(Place.DLQ)].count(before) >= 1


def state(publisher: QueuePublisher) -> PublisherState:
    return publisher.state


async def publishes(publisher: QueuePublisher, queue: str) -> bool:
    try:
        await publisher.publish_message(queue, BODY)
    except PublishError:
        return False
    return True
