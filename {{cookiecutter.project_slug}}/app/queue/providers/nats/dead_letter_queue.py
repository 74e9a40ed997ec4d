# The template's: an update changes it. Which files are yours: README.md.
"""NatsDeadLetterQueueHandler: reads `dlq_<queue>`, or another place, one message at a time."""

from __future__ import annotations

from typing import Any

from app.queue.broker.leases import Lease
from app.queue.broker.reader import LeasedReader
from app.queue.interfaces import Arrival, Place
from app.queue.providers.nats.config import NatsQueueConfig, stream_name
from app.queue.providers.nats.connection import NatsConnection, NatsConnectionManager
from app.queue.providers.nats.errors import translated
from app.queue.providers.nats.leases import NatsLeases
from app.queue.providers.nats.streams import CONSUMER, ensure_consumer, ensure_stream


class NatsDeadLetterQueueHandler(LeasedReader[NatsConnection, NatsLeases]):
    """Asks for one message, that is there now or not."""

    config: NatsQueueConfig
    pool = NatsConnectionManager

    async def begin(self, connection: NatsConnection) -> NatsLeases:
        if makes := self.place is not Place.OLD_QUARANTINE:
            await ensure_stream(connection, self.config, self.name)
            await ensure_consumer(connection, self.config, self.name)
        return NatsLeases(connection, stream_name(self.name), self.config, renews=makes)

    async def count(self, connection: NatsConnection) -> int:
        stream = stream_name(self.name)
        with translated(f"stream {stream!r}"):
            info = await connection.jetstream.consumer_info(stream, CONSUMER)
        # Not the stream's own count: a server that was killed may find acked messages again, which nobody gets.
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def take(self, leases: NatsLeases) -> tuple[Lease[Any], Arrival] | None:
        if (lease := await leases.take_one()) is None:
            return None
        return lease, Arrival.ABANDONED if lease.received.metadata.num_delivered > 1 else Arrival.NEW
