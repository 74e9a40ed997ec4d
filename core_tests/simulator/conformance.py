"""One script for every provider, simulated or real: what it sees must be the same, or the simulation is of nothing.

It goes through the interfaces alone. Each step waits for what must come, so that the trace does not depend on how fast
a broker is; what comes side by side is put in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from app.queue.interfaces import Arrival, Delivery, Message, Place
from app.queue.processor import MessageProcessor
from app.queue.settings.queues import QueueConfig
from app.queue.setup import get_consumer, get_dead_letters, get_processor, get_publisher

MESSAGES = 6
PREFETCH = 2
DELAY = 0.2
BODY = {"type": "work", "n": 0}
QUIET, LOOK_EVERY, PATIENCE = 0.5, 0.02, 30.0


class Script:
    """The steps, and the trace of what they saw. `config` has `prefetch` PREFETCH, and DELAY as its only delay."""

    def __init__(self, config: QueueConfig) -> None:
        self.trace: list[str] = []
        self._config = config
        self._consumer = get_consumer(config, MessageProcessor())
        self._consumer.on_delivery = self._came
        self._processor = get_processor(config)
        self._deliveries: list[Delivery] = []

    async def run(self) -> list[str]:
        """All steps."""
        try:
            await self._consumer.open()
            await self._publish()
            first = await self._next(PREFETCH)
            await self._nothing_more()
            await self._processor.ack(first[0])
            await self._next(1)
            await self._link_is_closed_and_opened()
            await self._moves()
            await self._dead_letters()
            await self._nothing_more()
        finally:
            await self._consumer.close()
            await self._processor.close()
        return self.trace

    async def _publish(self) -> None:
        publisher = get_publisher(self._config)
        try:
            for number in range(MESSAGES):
                await publisher.publish_message(self._config.name, BODY, message_id=f"m{number}.1")
        finally:
            await publisher.close()

    async def _link_is_closed_and_opened(self) -> None:
        """What was in flight comes again, and says so."""
        await self._consumer.close()
        self._deliveries.clear()
        await self._consumer.open()
        again = await self._next(PREFETCH)
        await self._processor.ack(again[0])
        self._left = [again[1], *await self._next(1)]

    async def _moves(self) -> None:
        """Each place once. What is moved is as new wherever it comes."""
        dead, failed = self._left
        await self._move(dead, Place.DLQ)
        (third,) = await self._next(1)
        await self._move(failed, Place.RETRY, DELAY)
        (fourth,) = await self._next(1)
        await self._processor.ack(third)
        (back,) = await self._next(1)
        await self._processor.ack(fourth)
        await self._processor.ack(back)

    async def _dead_letters(self) -> None:
        """What a reader took and did not settle is there again; what it moves back comes to the consumer."""
        reader = get_dead_letters(self._config, Place.DLQ)
        try:
            self._note(f"depth {await reader.depth()}")
            self._saw(await reader.receive())
            await reader.close()
            taken = await self._until(reader.receive)
            self._saw(taken)
            await self._move(taken, Place.QUEUE)
            (replayed,) = await self._next(1)
            await self._processor.ack(replayed)
            self._note(f"depth {await reader.depth()}")
            self._saw(await reader.receive())
        finally:
            await reader.close()

    async def _move(self, delivery: Delivery, place: Place, delay: float = 0.0) -> None:
        message: Message = replace(delivery.message, headers={**delivery.message.headers, "moved": place.value})
        await self._processor.move(delivery, message, place, delay)
        self._note(f"{message.message_id} is moved to {place.value}")

    async def _next(self, count: int) -> list[Delivery]:
        """The next deliveries, in the order of their ids."""
        for _ in range(round(PATIENCE / LOOK_EVERY)):
            if len(self._deliveries) >= count:
                break
            await asyncio.sleep(LOOK_EVERY)
        came, self._deliveries = self._deliveries[:count], self._deliveries[count:]
        assert len(came) == count, f"{count} were to come, and there came {came}; before: {self.trace}"
        came.sort(key=lambda delivery: delivery.message.message_id)
        for delivery in came:
            self._saw(delivery)
        return came

    async def _nothing_more(self) -> None:
        await asyncio.sleep(QUIET)
        assert not self._deliveries, f"there came {self._deliveries}; before: {self.trace}"
        self._note("nothing more")

    async def _until(self, receive: Callable[[], Awaitable[Delivery | None]]) -> Delivery:
        for _ in range(round(PATIENCE / LOOK_EVERY)):
            came = await receive()
            if came is not None:
                return came
            await asyncio.sleep(LOOK_EVERY)
        raise AssertionError(f"nothing came; before: {self.trace}")

    def _saw(self, delivery: Delivery | None) -> None:
        if delivery is None:
            self._note("none")
        else:
            again = "again" if delivery.arrival is not Arrival.NEW else "new"
            self._note(f"{delivery.message.message_id} {again} {delivery.message.headers.get('moved', '')}".rstrip())

    def _note(self, text: str) -> None:
        self.trace.append(text)

    async def _came(self, delivery: Delivery) -> None:
        self._deliveries.append(delivery)
