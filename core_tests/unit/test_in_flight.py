"""The register of deliveries in flight."""

from __future__ import annotations

import asyncio

from app.queue.consume.in_flight import InFlight, Record
from core_tests.unit.records import delivery


class Running:
    """Deliveries that are handled until they are released."""

    def __init__(self) -> None:
        self.register = InFlight()
        self.records: dict[str, Record] = {}
        self._released: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, name: str, link: str) -> Record:
        released = self._released[name] = asyncio.Event()

        async def handle() -> None:
            record = self.records[name] = self.register.add(delivery(name), link)
            await released.wait()
            self.register.remove(record)

        self._tasks.append(asyncio.create_task(handle()))
        await asyncio.sleep(0)
        return self.records[name]

    async def end(self, name: str) -> None:
        self._released[name].set()
        await asyncio.wait([self.records[name].task])


async def test_a_delivery_is_in_flight_from_when_it_came_until_its_task_has_ended() -> None:
    running = Running()
    record = await running.begin("a", "consumer")
    assert len(running.register) == 1
    assert running.register.by_task() == {record.task: record}
    await running.end("a")
    assert len(running.register) == 0


async def test_a_lost_link_loses_what_came_by_it_and_nothing_else() -> None:
    running = Running()
    ours, other = await running.begin("a", "consumer"), await running.begin("b", "reader")
    assert running.register.lose("consumer") == [ours]
    assert (ours.lost, other.lost) == (True, False)
    assert len(running.register) == 1, "the lost one can't be settled any more"


async def test_what_is_lost_is_lost_once_and_is_known_until_its_task_has_ended() -> None:
    running = Running()
    record = await running.begin("a", "consumer")
    running.register.lose("consumer")
    assert running.register.lose("consumer") == []
    assert set(running.register.by_task()) == {record.task}
    await running.end("a")
    assert len(running.register) == 0
    assert not running.register.by_task()
