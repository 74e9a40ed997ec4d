# The template's: an update changes it. Which files are yours: README.md.
"""The parts of the embedded provider: what takes messages from the queues of the process, settles them, publishes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from app.queue.broker.processor import TwoStepProcessor
from app.queue.broker.publisher import GuardedPublisher
from app.queue.errors import DeliveryLostError, UnroutableError
from app.queue.interfaces import (
    DeadLetterQueueHandler,
    Delivery,
    Dispatcher,
    Message,
    Place,
    PublisherState,
    QueueConsumer,
    QueueHealthCheck,
)
from app.queue.messages.message import place_name
from app.queue.providers.memory.broker import broker
from app.queue.settings.queues import QueueConfig
from app.queue.time_limit import until


class InFlight:
    """What was taken from one place. It is settled, or put back at the end."""

    def __init__(self, queue: str, place: str) -> None:
        self.place = place
        self.wake = asyncio.Event()  # when something is not in flight any more
        self.tokens: set[Token] = set()
        self._queue = queue

    def take(self) -> Delivery | None:
        """What is at the head of the place, if there is anything."""
        if (taken := broker.take(self.place, self)) is None:
            return None
        message, arrival = taken
        token = Token(self, message)
        self.tokens.add(token)
        return Delivery(self._queue, message, arrival, token, message.message_id)

    def close(self) -> None:
        """Return what is not settled to the head of its place."""
        while self.tokens:
            broker.put(self.place, self.tokens.pop().message, holder=self)


@dataclass(slots=True, eq=False)
class Token:
    """One message that was taken."""

    in_flight: InFlight
    message: Message

    def check(self) -> None:
        """Raise DeliveryLostError if it is settled or put back."""
        if self not in self.in_flight.tokens:
            raise DeliveryLostError("the delivery's consumer was closed; the message will be delivered again")


class MemoryConsumer(QueueConsumer):
    """Polls while fewer than `prefetch` are in flight, and is woken when there is something to poll."""

    def __init__(self, queue_name: str, config: QueueConfig, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config, dispatcher)
        self._in_flight = InFlight(queue_name, queue_name)
        self._polling: asyncio.Task[None] | None = None
        self._takes = False
        self._room = config.prefetch

    async def open(self) -> None:
        if self._polling is None:
            loop, wake = asyncio.get_running_loop(), self._in_flight.wake
            unwatch = broker.watch(self.queue_name, lambda: loop.call_soon_threadsafe(wake.set))
            self._polling = asyncio.create_task(self._poll())
            self._polling.add_done_callback(lambda _: unwatch())
            await self.make_room(0)
            await self.start_intake()

    async def lost(self) -> str:
        if self._polling is not None:
            await asyncio.wait([self._polling])
        return "closed"

    async def close(self) -> None:
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.wait([polling])
        self._in_flight.close()

    async def start_intake(self) -> None:
        self._takes = True
        self._in_flight.wake.set()

    async def stop_intake(self) -> None:
        self._takes = False

    async def make_room(self, held: int) -> None:
        self._room = self.config.prefetch + held
        self._in_flight.wake.set()

    @property
    def registered(self) -> bool:
        return self._takes and self._polling is not None and not self._polling.done()

    async def _poll(self) -> None:
        wake = self._in_flight.wake
        while True:
            wake.clear()
            due = None
            while self._takes and len(self._in_flight.tokens) < self._room:
                if (delivery := self._in_flight.take()) is None:
                    due = broker.next_due(self.queue_name)
                    break
                self.deliver(delivery)
            await until(wake, due)


class MemoryDeadLetterQueueHandler(DeadLetterQueueHandler):
    """Takes from the head of `dlq_<queue>`, or of another place."""

    def __init__(self, queue_name: str, config: QueueConfig, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config, place)
        self._in_flight = InFlight(queue_name, place_name(queue_name, place))

    async def depth(self) -> int:
        return broker.depth(self._in_flight.place)

    async def receive(self) -> Delivery | None:
        return self._in_flight.take()

    async def close(self) -> None:
        self._in_flight.close()


class MemoryMessageHandler(TwoStepProcessor):
    """Nothing here can fail, save that a delivery's consumer was closed meanwhile."""

    def place(self, place: Place, delay: float) -> str:
        return place_name(self.queue_name, Place.QUEUE if place is Place.RETRY else place, delay)

    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:  # noqa: ARG002
        broker.put(target, message, delay)

    async def forget(self, delivery: Delivery) -> None:
        delivery.token.in_flight.tokens.discard(delivery.token)
        delivery.token.in_flight.wake.set()


class MemoryPublisher(GuardedPublisher):
    """Always ready."""

    async def open(self) -> None:
        broker.declared.add(self.queue_name)

    async def lost(self) -> str:
        await asyncio.Event().wait()
        return ""

    @property
    def state(self) -> PublisherState:
        return "ready"

    async def send(self, queue: str, message: Message) -> None:
        if queue not in broker.declared:
            raise UnroutableError(f"there is no queue {queue!r}; the message went nowhere")
        broker.put(queue, message)


class MemoryHealthCheck(QueueHealthCheck):
    """There is nothing that could be away."""

    async def probe(self) -> None:
        """Nothing to ask."""
