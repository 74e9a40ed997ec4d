"""NatsHealthCheck: a round trip to JetStream over the connection of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.queue.interfaces import QueueHealthCheck
from app.queue.providers.nats.connection import NatsConnectionManager
from app.queue.providers.nats.streams import stream_name

if TYPE_CHECKING:
    from app.queue.providers.nats.config import NatsQueueConfig


class NatsHealthCheck(QueueHealthCheck):
    """Asks for the state of the queue's stream: a server may be there, and its JetStream not."""

    config: NatsQueueConfig

    async def probe(self) -> None:
        await NatsConnectionManager.of(self.config).probe(stream_name(self.queue_name))
