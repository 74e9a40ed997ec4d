"""The consumer and the reader of a polled broker, and the loop that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from app.queue.broker import polling
from app.queue.broker.consumer import PolledConsumer
from app.queue.broker.leases import Lease
from app.queue.broker.polling import Polling
from app.queue.broker.reader import LeasedReader
from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import Arrival, Delivery, Message, Place, QueueProcessor
from app.queue.messages.headers import history_of
from app.queue.processor import MessageProcessor
from core_tests.tools.fake_broker import FakeConnection, FakePool, fake_config
from core_tests.tools.fake_leases import FakeLeases
from core_tests.tools.waiting import eventually

PATIENCE = 0.1
NEW, OURS, ABANDONED = Arrival.NEW, Arrival.OURS, Arrival.ABANDONED


class FakePolling(Polling):
    """Gives what is in `queue`: (text, how it comes). Waits PATIENCE if it is empty; hangs if it is to."""

    def __init__(self, consumer: FakeConsumer, leases: FakeLeases, limit: int) -> None:
        super().__init__(leases, limit, consumer.link.lose, patience=PATIENCE)
        self.consumer = consumer
        self.rooms: list[int] = []

    async def fetch(self, room: int) -> None:
        self.rooms.append(room)
        consumer = self.consumer
        if consumer.error is not None:
            raise consumer.error
        if consumer.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(PATIENCE if not consumer.queue else 0.01)
        for text, arrival in consumer.queue[:room]:
            if (lease := self._leases.take(text, text)) is not None:
                consumer.took(lease, arrival)
        del consumer.queue[:room]


class Returned(QueueProcessor):
    """Notes what it moved; or refuses."""

    def __init__(self) -> None:
        super().__init__("q", fake_config())
        self.moved: list[tuple[bytes, Place]] = []
        self.refuses: Exception | None = None

    async def ack(self, delivery: Delivery) -> None:
        raise NotImplementedError

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        if self.refuses is not None:
            raise self.refuses
        assert history_of(message).moves == history_of(delivery.message).moves + 1
        assert delay == 0.0
        self.moved.append((message.body, place))
        delivery.token.let_go()

    async def close(self) -> None: ...


class Running:
    """What runs beside the polling."""

    def __init__(self, end: Callable[[], Awaitable[None]]) -> None:
        self._end = end

    async def close(self) -> None:
        await self._end()


class FakeConsumer(PolledConsumer[FakeConnection]):
    """Consumes a list."""

    pool = FakePool

    def __init__(self, **keys: Any) -> None:
        config = fake_config(**keys)
        self.returned = Returned()
        super().__init__("q", config, MessageProcessor(), processor=self.returned)
        self.queue: list[tuple[str, Arrival]] = []
        self.error: Exception | None = None
        self.hangs = False
        self.got: list[Delivery] = []
        self.on_delivery = self._take
        self.ensured = self.ended = 0
        self.leases: FakeLeases | None = None
        self.polling: FakePolling | None = None

    async def _take(self, delivery: Delivery) -> None:
        self.got.append(delivery)

    async def ensure(self, connection: FakeConnection) -> None:
        assert connection.opened
        self.ensured += 1

    async def begin(self, connection: FakeConnection) -> tuple[FakeLeases, FakePolling]:
        self.leases = FakeLeases(connection)
        self.polling = FakePolling(self, self.leases, self.config.prefetch)
        self.beside = Running(self._end)
        return self.leases, self.polling

    async def _end(self) -> None:
        self.ended += 1

    def ids(self) -> list[str]:
        return [delivery.message.message_id for delivery in self.got]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePool, "made", [])


@pytest.fixture
async def consumer() -> AsyncIterator[FakeConsumer]:
    made = FakeConsumer(prefetch=3, concurrency=1)
    yield made
    await made.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "no task is left behind"


async def test_it_takes_no_more_than_there_is_room_for(consumer: FakeConsumer) -> None:
    consumer.queue = [(f"{number}", NEW) for number in range(5)]
    assert not consumer.registered
    await consumer.open()
    assert consumer.registered
    await eventually(lambda: len(consumer.got) == 3, "as many as it may have")
    await asyncio.sleep(0.05)
    assert consumer.ids() == ["0", "1", "2"]
    assert consumer.polling is not None
    assert consumer.polling.rooms == [3]
    consumer.got[1].token.let_go()
    await eventually(lambda: len(consumer.got) == 4, "one more")
    assert consumer.polling.rooms == [3, 1]


async def test_to_open_twice_is_to_open_once(consumer: FakeConsumer) -> None:
    await consumer.open()
    await consumer.open()
    assert (consumer.ensured, len(FakePool.made)) == (1, 1)


async def test_what_came_after_the_intake_stopped_goes_to_the_tail(consumer: FakeConsumer) -> None:
    await consumer.open()
    await asyncio.sleep(0.02)  # it has asked
    await consumer.stop_intake()
    assert not consumer.registered
    consumer.queue = [("late", NEW)]
    await eventually(lambda: consumer.returned.moved == [(b"late", Place.QUEUE)], "it is returned")
    assert not consumer.got
    await consumer.start_intake()
    assert consumer.registered
    consumer.queue = [("next", NEW)]
    await eventually(lambda: consumer.ids() == ["next"], "it goes on")


@pytest.mark.parametrize("error", [BrokerError("no"), KeyError("x")])
async def test_what_can_not_be_returned_is_put_back(consumer: FakeConsumer, error: Exception) -> None:
    await consumer.open()
    await asyncio.sleep(0.02)
    await consumer.stop_intake()
    consumer.returned.refuses = error
    consumer.queue = [("late", NEW)]
    assert consumer.leases is not None
    await eventually(lambda: consumer.leases.returned == [("late", 0.0)], "it is put back")  # type: ignore[union-attr]


async def test_what_came_again_is_held_until_the_intake_starts_again(consumer: FakeConsumer) -> None:
    await consumer.open()
    await asyncio.sleep(0.02)
    await consumer.stop_intake()
    consumer.queue = [("abandoned", ABANDONED), ("ours", OURS)]
    await eventually(lambda: consumer.queue == [], "they have come")
    assert (consumer.got, consumer.returned.moved) == ([], [])
    await consumer.start_intake()
    await eventually(lambda: consumer.ids() == ["abandoned", "ours"], "they are delivered")
    assert [delivery.arrival for delivery in consumer.got] == [ABANDONED, OURS]


async def test_what_was_asked_for_has_come_before_the_consumer_closes(consumer: FakeConsumer) -> None:
    await consumer.open()
    await asyncio.sleep(0.02)
    closing = asyncio.create_task(consumer.close())
    await asyncio.sleep(0)
    consumer.queue = [("late", NEW)]
    await closing
    assert consumer.returned.moved == [(b"late", Place.QUEUE)]
    assert consumer.leases is not None
    assert consumer.leases.left == []
    assert consumer.ended == 1


async def test_what_is_in_flight_at_the_end_is_left_in_peace_and_kept_after_a_loss(consumer: FakeConsumer) -> None:
    for lost, left in ((False, ["one"]), (True, None)):
        consumer.queue = [("one", NEW)]
        await consumer.open()
        await eventually(lambda: len(consumer.got) > 0, "it is in flight")
        if lost:
            consumer.link.lose("broken")
        await consumer.close()
        assert consumer.leases is not None
        assert consumer.leases.left == left
        consumer.got.clear()


@pytest.mark.parametrize("error", [BrokerError("the broker says no"), KeyError("x")])
async def test_an_error_in_asking_ends_the_link(consumer: FakeConsumer, error: Exception) -> None:
    consumer.error = error
    await consumer.open()
    why = await asyncio.wait_for(consumer.lost(), 5)
    assert ("the broker says no" if isinstance(error, BrokerError) else "KeyError") in why
    assert not consumer.registered
    await consumer.close()
    consumer.error = None
    await consumer.open()
    assert consumer.registered


async def test_a_request_that_is_not_answered_ends_the_link(
    consumer: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "SILENT_AFTER", 0.1)
    monkeypatch.setattr(polling, "LOOK_EVERY", 0.05)
    await consumer.open()
    await asyncio.sleep(0.5)
    assert consumer.registered, "one that answers late is not silent"
    consumer.hangs = True
    assert "does not answer for the consumer" in await asyncio.wait_for(consumer.lost(), 5)


async def test_a_consumer_that_can_not_open_leaves_nothing_open(
    consumer: FakeConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: FakeConnection) -> None:
        raise BrokerUnavailableError("no such queue")

    monkeypatch.setattr(consumer, "ensure", refuse)
    with pytest.raises(BrokerUnavailableError):
        await consumer.open()
    assert FakePool.made[0].closes == 1
    with pytest.raises(BrokerUnavailableError, match="not connected"):
        await consumer.start_intake()


class FakeReader(LeasedReader[FakeConnection, FakeLeases]):
    """Reads a list."""

    pool = FakePool

    def __init__(self) -> None:
        super().__init__("q", fake_config(), Place.DLQ)
        self.lying: list[str | BrokerError] = []
        self.begun: list[FakeLeases] = []

    async def begin(self, connection: FakeConnection) -> FakeLeases:
        self.begun.append(FakeLeases(connection))
        return self.begun[-1]

    async def count(self, connection: FakeConnection) -> int:
        assert connection.is_open
        if self.lying and isinstance(self.lying[0], BrokerError):
            raise self.lying.pop(0)  # type: ignore[misc]
        return len(self.lying)

    async def take(self, leases: FakeLeases) -> tuple[Lease[Any], Arrival] | None:
        if not self.lying:
            return None
        found = self.lying.pop(0)
        if isinstance(found, BrokerError):
            raise found
        lease = leases.take(found, found)
        assert lease is not None
        return lease, ABANDONED


async def test_a_reader_opens_itself_takes_one_at_a_time_and_leaves_what_it_has() -> None:
    reader = FakeReader()
    assert await reader.depth() == 0
    assert await reader.receive() is None
    reader.lying = ["one", "two"]
    delivery = await reader.receive()
    assert delivery is not None
    assert (delivery.message.message_id, delivery.arrival) == ("one", ABANDONED)
    assert len(reader.begun) == 1
    await reader.close()
    assert reader.begun[0].left == ["one"]
    assert FakePool.made[0].closes == 1
    assert await reader.depth() == 1
    assert len(reader.begun) == 2
    await reader.close()
    await reader.close()


async def test_an_error_in_reading_makes_the_next_call_begin_anew() -> None:
    reader = FakeReader()
    for call in (reader.depth, reader.receive):
        reader.lying = [BrokerError("the place is gone")]
        with pytest.raises(BrokerError, match="gone"):
            await call()
        begun = len(reader.begun)
        assert not reader.link.is_open
        assert await call() in (0, None)
        assert len(reader.begun) == begun + 1
    await reader.close()
