# The template's: an update changes it. Which files are yours: README.md.
"""PolledConsumer: what the consumer of every polled broker does around asking for messages."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from contextlib import suppress
from typing import Any, Protocol

from app.queue.broker.connection import Connection
from app.queue.broker.leases import Lease, Leases
from app.queue.broker.link import Linked
from app.queue.broker.polling import Polling
from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import Arrival, Dispatcher, QueueConsumer, QueueProcessor
from app.queue.messages.headers import history_in_queue, with_history
from app.queue.messages.message import Place

logger = logging.getLogger(__name__)


class Beside(Protocol):
    """What runs beside the polling while a consumer is open."""

    async def close(self) -> None:
        """End, in bounded time."""


class PolledConsumer(QueueConsumer, Linked[Connection]):
    """Opens, polls, starts a task for each delivery, and gives back in peace what it has at the end.

    A provider supplies the pool and the processor, and fills in the abstract methods.
    """

    def __init__(self, queue_name: str, config: Any, dispatcher: Dispatcher, *, processor: QueueProcessor) -> None:
        super().__init__(queue_name, config, dispatcher)
        self.link = self.make_link()
        self.beside: Beside | None = None
        """What `begin()` has started besides the polling. It is closed while that ends, which may take its patience."""
        self._processor = processor
        self._polling: Polling | None = None
        self._leases: Leases[Any] | None = None
        self._held: list[tuple[Lease[Any], Arrival]] = []
        self._returning: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def ensure(self, connection: Connection) -> None:
        """See to it that the queue and its places exist. Raises BrokerError."""

    @abstractmethod
    async def begin(self, connection: Connection) -> tuple[Leases[Any], Polling]:
        """Make what polls the queue, and what runs `beside` it, if there is something. Raises BrokerError.

        What is taken is given to `took()`; what ends the polling is told to `link.lose()`.
        """

    async def open(self) -> None:
        if self.link.is_open and self._polling is not None:
            return
        await self.link.open()
        try:
            await self.ensure(self.link.connection)
            self._leases, self._polling = await self.begin(self.link.connection)
            self._polling.start()
        except BaseException:
            await self.close()
            raise

    async def lost(self) -> str:
        return await self.link.lost()

    async def close(self) -> None:
        # After a loss, handlers go on, and nobody else must have their messages before we have had time to come back.
        peace = self.link.is_open
        running: tuple[Beside | None, ...] = (self._polling, self.beside)
        self._polling = self.beside = None
        leases, self._leases = self._leases, None
        await asyncio.gather(*(one.close() for one in running if one is not None))
        if self._returning:
            await asyncio.wait(self._returning)
        if leases is not None:
            await leases.close(leave=peace)
        self._held.clear()
        await asyncio.gather(self._processor.close(), self.link.close())

    async def start_intake(self) -> None:
        if self._polling is None:
            raise BrokerUnavailableError("not connected to the broker")
        self._polling.start()
        held, self._held = self._held, []
        for lease, arrival in held:
            self.deliver(lease.delivery(self.queue_name, arrival))

    async def stop_intake(self) -> None:
        if self._polling is not None:
            self._polling.stop()
            await asyncio.sleep(0)  # what came last begins, and is in flight

    async def make_room(self, held: int) -> None:
        if self._polling is not None:
            self._polling.make_room(held)

    @property
    def registered(self) -> bool:
        return self._polling is not None and self._polling.asks and self.link.answers

    def took(self, lease: Lease[Any], arrival: Arrival) -> None:
        """A message has come."""
        if self._polling is not None and self._polling.asks and self.link.is_open:
            self.deliver(lease.delivery(self.queue_name, arrival))
        elif arrival is not Arrival.NEW:
            self._held.append((lease, arrival))  # that somebody died of it, perhaps, must not be forgotten
        else:
            task = asyncio.create_task(self._return(lease))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _return(self, lease: Lease[Any]) -> None:
        """What was asked for before the intake stopped goes to the tail: left, it would look like a dead one's."""
        delivery = lease.delivery(self.queue_name, Arrival.NEW)
        try:
            message = with_history(delivery.message, history_in_queue(delivery.message))  # every move counts
            await self._processor.move(delivery, message, Place.QUEUE)
        except Exception as error:  # noqa: BLE001 - told; a lease must not be kept for nothing
            logger.debug("%s: message %s can't go to the tail: %s", self.queue_name, lease.key, error)
            with suppress(BrokerError):
                await lease.put_back()
