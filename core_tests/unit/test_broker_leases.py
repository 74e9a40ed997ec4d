"""What is in flight at a polled broker: kept for as long as it takes, lost one by one, left in peace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.queue.broker.batches import Batches
from app.queue.broker.leases import Leases
from app.queue.broker.processor import Lent
from app.queue.errors import BrokerError, DeliveryLostError
from core_tests.tools.fake_broker import FakeConnection, fake_config
from core_tests.tools.fake_leases import FakeLeases
from core_tests.tools.waiting import eventually


@pytest.fixture
async def connection() -> FakeConnection:
    return FakeConnection(fake_config(), fake_config().servers()[0])


@pytest.fixture
async def leases(connection: FakeConnection) -> AsyncIterator[FakeLeases]:
    made = FakeLeases(connection)
    yield made
    await made.close()


async def test_one_is_in_flight_until_it_is_let_go_and_never_twice(leases: FakeLeases) -> None:
    lease = leases.take(1, "one")
    assert lease is not None
    lease.check()
    assert isinstance(lease, Lent), "what settles it gives it back when a move fails"
    assert leases.take(1, "one, again") is None
    assert (len(leases), lease.received) == (1, "one, again"), "what settles it may be another now"
    leases.room.clear()
    lease.let_go()
    assert leases.room.is_set()
    with pytest.raises(DeliveryLostError):
        lease.check()
    other = leases.take(1, "comes again")
    lease.let_go()  # an old one lets go of nothing
    assert other is not None
    other.check()


async def test_what_is_in_flight_is_prolonged_and_what_is_settled_is_not(leases: FakeLeases) -> None:
    slow, quick = leases.take(1, "slow"), leases.take(2, "quick")
    assert slow is not None
    assert quick is not None
    quick.let_go()
    await eventually(lambda: leases.prolonged.count("slow") >= 3, "again and again")
    assert "quick" not in leases.prolonged


async def test_a_lost_lease_is_one_lost_delivery_and_the_link_is_fine(
    leases: FakeLeases, connection: FakeConnection, caplog: pytest.LogCaptureFixture
) -> None:
    lost, kept = leases.take(1, "lost"), leases.take(2, "kept")
    assert lost is not None
    assert kept is not None
    leases.taken_over = {"lost"}
    await eventually(lambda: len(leases) == 1, "one is lost")
    with pytest.raises(DeliveryLostError, match="another instance has the message"):
        lost.check()
    kept.check()
    assert connection.is_open
    assert "message 1, which is in flight here, has gone to another instance" in caplog.text


async def test_a_prolongation_that_fails_is_tried_again(leases: FakeLeases) -> None:
    leases.fails = True
    lease = leases.take(1, "one")
    assert lease is not None
    await asyncio.sleep(0.15)
    leases.fails = False
    await eventually(lambda: leases.prolonged != [], "the next turn says it")
    lease.check()


async def test_nothing_can_be_settled_over_a_lost_connection(leases: FakeLeases, connection: FakeConnection) -> None:
    lease = leases.take(1, "one")
    assert lease is not None
    connection.lose("gone")
    with pytest.raises(DeliveryLostError):
        lease.check()


async def test_what_is_left_at_the_end_goes_to_others_only_in_peace(connection: FakeConnection) -> None:
    for leave, left in ((True, ["one"]), (False, None)):
        leases = FakeLeases(connection)
        lease = leases.take(1, "one")
        assert lease is not None
        await leases.close(leave=leave)
        assert leases.left == left
        with pytest.raises(DeliveryLostError):
            lease.check()


async def test_the_end_waits_for_what_is_being_settled(connection: FakeConnection) -> None:
    leases = FakeLeases(connection)
    lease = leases.take(1, "one")
    assert lease is not None

    async def settle() -> None:
        await leases.settle(asyncio.sleep(0.1))
        lease.let_go()

    settling = asyncio.create_task(settle())
    await asyncio.sleep(0)
    await leases.close()
    await settling
    assert leases.left == []


async def test_what_is_put_back_is_not_in_flight_even_if_the_broker_can_not_be_told(leases: FakeLeases) -> None:
    lease = leases.take(1, "one")
    assert lease is not None
    await lease.put_back(5.0)
    assert leases.returned == [("one", 5.0)]

    class Silent(FakeLeases):
        put_back = Leases.put_back

    silent = Silent(leases.connection)
    other = silent.take(1, "one")
    assert other is not None
    await other.put_back()
    assert len(silent) == 0
    await silent.close()


async def test_a_batch_is_sent_while_the_next_one_gathers() -> None:
    sent: list[list[int]] = []

    async def send(items: object) -> list[BrokerError | None]:
        assert isinstance(items, list)
        sent.append(items)
        await asyncio.sleep(0.01)
        if 3 in items:
            raise BrokerError("not these")
        return [DeliveryLostError("not this one") if item == 2 else None for item in items]

    batches = Batches[int](send, 4)
    first = asyncio.create_task(batches.add(0))
    await asyncio.sleep(0.005)
    results = await asyncio.gather(first, *(batches.add(number) for number in range(1, 10)), return_exceptions=True)
    assert sent == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert [number for number, result in enumerate(results) if isinstance(result, BrokerError)] == [1, 2, 3, 4]
    sent.clear()
    alone = await asyncio.gather(batches.add(2), batches.add(5), return_exceptions=True)
    assert isinstance(alone[0], DeliveryLostError)
    assert alone[1] is None


async def test_what_is_being_sent_when_batches_end_is_lost_after_the_time() -> None:
    async def hang(_: object) -> list[BrokerError | None]:
        await asyncio.Event().wait()
        return []

    batches = Batches[int](hang, 1)
    adding = [asyncio.create_task(batches.add(number)) for number in range(2)]
    await asyncio.sleep(0)
    await batches.close(0.01)
    results = await asyncio.gather(*adding, return_exceptions=True)
    assert all(isinstance(result, DeliveryLostError) for result in results)
