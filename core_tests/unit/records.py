"""Deliveries in flight, and a broker, made up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from app.queue.consume.in_flight import Record
from app.queue.errors import BrokerUnavailableError
from app.queue.interfaces import Arrival, Delivery, Message, Place, QueueConsumer, QueueProcessor
from app.queue.messages.outcome import Outcome
from app.queue.processor import MessageProcessor
from core_tests.tools.example import queue_config


def delivery(message_id: str = "id", body: bytes = b"{}", arrival: Arrival = Arrival.NEW, **headers: Any) -> Delivery:
    """A delivery of a message with these headers, `queue_attempts=1` for example; one without an id if that is ""."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Delivery("q", Message(body, message_id or "made up", named), arrival, identity=message_id)


def record(given: Delivery | None = None, result: asyncio.Future[Outcome | None] | None = None) -> Record:
    """Its record; `result` stands for the task that handles it."""
    future = asyncio.get_running_loop().create_future() if result is None else result
    return Record(given or delivery(), "consumer", future)  # type: ignore[arg-type]


class Consumer(QueueConsumer):
    """Receives, or doesn't."""

    def __init__(self) -> None:
        super().__init__("q", queue_config("q"), MessageProcessor())
        self.receives = False
        self.has_link = False
        self.held: list[int] = []
        """What room was made for."""

    async def open(self) -> None:
        self.has_link = self.receives = True

    async def lost(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def close(self) -> None:
        self.has_link = self.receives = False

    async def stop_intake(self) -> None:
        self._check()
        self.receives = False

    async def start_intake(self) -> None:
        self._check()
        self.receives = True

    async def make_room(self, held: int) -> None:
        self._check()
        self.held.append(held)

    @property
    def registered(self) -> bool:
        return self.receives

    def _check(self) -> None:
        if not self.has_link:
            raise BrokerUnavailableError("not connected to the broker")


class Broker(QueueProcessor):
    """Fails as often as it is told to, and notes what was done."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__("q", queue_config("q"))
        self.errors = list(errors)
        self.acked = 0
        self.moved: list[tuple[Message, Place, float]] = []
        self.on_move: Callable[[Message, Place], None] | None = None

    async def ack(self, delivery: Delivery) -> None:
        self._fail()
        self.acked += 1

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        self._fail()
        self.moved.append((message, place, delay))
        if self.on_move is not None:
            self.on_move(message, place)

    async def close(self) -> None:
        """Nothing is open."""

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
