"""The provider for the broker that is polled. It is made of the kit, and does as those of Redis and NATS do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.queue.broker.consumer import PolledConsumer
from app.queue.broker.errors import unconfirmed
from app.queue.broker.leases import Lease, Leases
from app.queue.broker.linked_publisher import LinkedPublisher
from app.queue.broker.polling import Polling
from app.queue.broker.processor import LinkedProcessor
from app.queue.broker.reader import LeasedReader
from app.queue.errors import BrokerUnavailableError, DeliveryLostError
from app.queue.interfaces import Arrival, Claims, Delivery, Dispatcher, Message, Place, Provider
from core_tests.simulator.connection import (
    CONSUME,
    PUBLISH,
    SimulatedConfig,
    SimulatedConnection,
    SimulatedHealthCheck,
    SimulatedLink,
    holder,
)
from core_tests.simulator.polled.broker import Lent

BLOCK = 5.0
"""Seconds for which the broker waits for something to answer with."""


class PolledLeases(Leases[Message]):
    """A lease's key is its entry's number."""

    connection: SimulatedConnection

    def __init__(self, connection: SimulatedConnection, name: str, holder: str, ack_wait: float) -> None:
        super().__init__(connection, ack_wait, f"queue {name!r}")
        self.name = name
        self.holder = holder

    def taken(self, lent: Lent) -> tuple[Lease[Message], Arrival] | None:
        """Note what the broker has lent, and how it came; None if it is in flight already."""
        number, message, before, last = lent
        lease = self.take(number, message)
        if lease is None:
            return None
        again = Arrival.OURS if last == self.holder else Arrival.ABANDONED
        return lease, again if before else Arrival.NEW

    def read(self, lease: Lease[Message]) -> tuple[Message, str]:
        return lease.received, lease.received.message_id

    async def ack(self, lease: Lease[Message]) -> None:
        """Return when the broker has forgotten the message. Raises BrokerError."""
        acked = await self.settle(self.connection.call("ack", self.name, self.holder, lease.key))
        lease.let_go()
        if not acked:
            raise DeliveryLostError("another instance has the message now")

    async def prolong(self, leases: Sequence[Lease[Message]]) -> list[Lease[Message]]:
        numbers = [lease.key for lease in leases]
        lost = await self.connection.call("prolong", self.name, self.holder, numbers)
        return [lease for lease in leases if lease.key in lost]

    async def leave(self, leases: Sequence[Lease[Message]]) -> None:
        await self.connection.call("release", self.name, self.holder, timeout=1.0)


class PolledIntake(Polling):
    """Asks first for what this consumer had in flight when its link was lost, and then for more."""

    _leases: PolledLeases

    def __init__(
        self,
        leases: PolledLeases,
        limit: int,
        took: Callable[[Lease[Message], Arrival], None],
        on_end: Callable[[str], None],
    ) -> None:
        super().__init__(leases, limit, on_end, patience=BLOCK)
        self._took = took
        self._own = True

    async def fetch(self, room: int) -> None:
        leases = self._leases
        if self._own:
            lent = await leases.connection.call("own", leases.name, leases.holder)
            self._own = False
        else:
            lent = await leases.connection.call("fetch", leases.name, leases.holder, room, BLOCK)
        for one in lent:
            if (taken := leases.taken(one)) is not None:
                self._took(*taken)


class PolledSimulatedConsumer(PolledConsumer[SimulatedConnection]):
    """Polls the queue. Its name is the same after a loss, and another in each process."""

    config: SimulatedConfig

    def __init__(self, queue_name: str, config: SimulatedConfig, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config, dispatcher, processor=PolledProcessor(queue_name, config))

    def make_link(self) -> SimulatedLink:
        return SimulatedLink(self.config, CONSUME)

    async def ensure(self, connection: SimulatedConnection) -> None:
        """The queue is there."""

    async def begin(self, connection: SimulatedConnection) -> tuple[PolledLeases, PolledIntake]:
        leases = PolledLeases(connection, self.queue_name, holder(self.config), self.config.ack_wait)
        return leases, PolledIntake(leases, self.config.prefetch, self.took, self._on_end)

    def _on_end(self, why: str) -> None:
        if self.link.is_open:
            self.link.connection.lose(why)


class PolledProcessor(LinkedProcessor[SimulatedConnection]):
    """Puts on another connection, and then acks on that of the delivery."""

    def make_link(self) -> SimulatedLink:
        return SimulatedLink(self.config, PUBLISH)

    def place(self, place: Place, delay: float) -> str:
        return super().place(place, self.config.retry.delays()[-1])

    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        await publish(self.link, target, message, delay)

    async def forget(self, delivery: Delivery) -> None:
        await delivery.token.leases.ack(delivery.token)


class PolledPublisher(LinkedPublisher[SimulatedConnection]):
    """Publishes, with confirms."""

    blocked_for = 2.0

    def make_link(self) -> SimulatedLink:
        return SimulatedLink(self.config, PUBLISH)

    async def ensure(self) -> None:
        """The queue is there."""

    def put(self, queue: str, message: Message) -> Awaitable[None]:
        return publish(self.link, queue, message, 0.0)


class PolledReader(LeasedReader[SimulatedConnection, PolledLeases]):
    """Asks for one message, that is there now or not."""

    config: SimulatedConfig

    def make_link(self) -> SimulatedLink:
        return SimulatedLink(self.config, CONSUME)

    async def begin(self, connection: SimulatedConnection) -> PolledLeases:
        return PolledLeases(connection, self.name, holder(self.config), self.config.ack_wait)

    async def count(self, connection: SimulatedConnection) -> int:
        return int(await connection.call("depth", self.name))

    async def take(self, leases: PolledLeases) -> tuple[Lease[Any], Arrival] | None:
        for one in await leases.connection.call("fetch", leases.name, leases.holder, 1, 0.0):
            return leases.taken(one)
        return None


async def publish(link: Any, queue: str, message: Message, delay: float) -> None:
    """Return once the broker has confirmed. Raises BrokerUnavailableError if it refused, PublishError otherwise."""
    connection: SimulatedConnection = link.connection
    try:
        await connection.call("publish", queue, message, delay)
    except BrokerUnavailableError as error:
        if connection.is_open:
            raise  # refused
        raise unconfirmed(error) from error


provider = Provider(
    *(SimulatedConfig, PolledSimulatedConsumer, PolledProcessor, PolledPublisher),
    *(PolledReader, SimulatedHealthCheck),
    claims=Claims(knows_holder=True, ordered=False),
)
