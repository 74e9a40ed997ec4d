# The template's: an update changes it. Which files are yours: README.md.
"""NatsConsumer: asks for messages, `prefetch` in flight at most."""

from __future__ import annotations

from typing import Any

from app.queue.broker.consumer import PolledConsumer
from app.queue.broker.leases import Lease
from app.queue.broker.on_their_way import OnTheirWay
from app.queue.interfaces import Arrival, Dispatcher, Place
from app.queue.messages.message import undivided_name
from app.queue.providers.nats.config import NatsQueueConfig, stream_name
from app.queue.providers.nats.connection import NatsConnection, NatsConnectionManager
from app.queue.providers.nats.delayed import Delayed
from app.queue.providers.nats.leases import NatsLeases, Pull
from app.queue.providers.nats.message_handler import NatsMessageHandler
from app.queue.providers.nats.streams import ensure_consumer, ensure_stream, subjects


class NatsConsumer(PolledConsumer[NatsConnection]):
    """Makes the queue and its places, receives from the first, and moves what has waited long enough back to it."""

    config: NatsQueueConfig
    pool = NatsConnectionManager

    def __init__(self, queue_name: str, config: NatsQueueConfig, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config, dispatcher, processor=NatsMessageHandler(queue_name, config))
        self._ends: tuple[NatsLeases, Pull] | None = None
        self._left: dict[int, int] = {}  # what was in flight when the last links ended, as `NatsLeases.left` has it
        self._on_their_way = OnTheirWay()

    async def ensure(self, connection: NatsConnection) -> None:
        for its_subject in subjects(self.config):
            await ensure_stream(connection, self.config, its_subject)
        for its_subject in (self.queue_name, undivided_name(self.queue_name, Place.RETRY)):
            await ensure_consumer(connection, self.config, its_subject)

    async def begin(self, connection: NatsConnection) -> tuple[NatsLeases, Pull]:
        self.beside = Delayed(connection, self.config, self.link.lose)
        leases = NatsLeases(connection, stream_name(self.queue_name), self.config)
        self._ends = leases, Pull(leases, self.config.prefetch, self._on_message, self.link.lose)
        return self._ends

    async def close(self) -> None:
        ended, self._ends = self._ends, None
        await super().close()
        if ended is not None:
            leases, pull = ended
            left = self._left | leases.left
            self._left = dict(list(left.items())[-4 * self.config.prefetch :])
            self._on_their_way.expect(pull.on_their_way)

    def _on_message(self, lease: Lease[Any]) -> None:
        self.took(lease, self._arrival(lease))

    def _arrival(self, lease: Lease[Any]) -> Arrival:
        """The server counts deliveries. If there was none since ours, nobody else had the message."""
        where = lease.received.metadata
        times = where.num_delivered
        if times == 1:
            return Arrival.NEW
        if self._left.pop(where.sequence.stream, 0) == times - 1:
            return Arrival.OURS
        return Arrival.OURS if times == 2 and self._on_their_way.take() else Arrival.ABANDONED
