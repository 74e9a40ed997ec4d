# The template's: an update changes it. Which files are yours: README.md.
"""NatsPublisher: publishes with an acknowledgement, to the queue's stream and no other."""

from __future__ import annotations

from app.queue.broker.linked_publisher import LinkedPublisher
from app.queue.errors import BrokerUnavailableError, UnroutableError
from app.queue.interfaces import Message
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.connection import NatsConnection, NatsConnectionManager
from app.queue.providers.nats.messages import published_as
from app.queue.providers.nats.put import HEADER_ROOM, put
from app.queue.providers.nats.streams import ensure_stream


class NatsPublisher(LinkedPublisher[NatsConnection]):
    """A queue's name is its subject."""

    config: NatsQueueConfig
    pool = NatsConnectionManager

    async def ensure(self) -> None:
        await ensure_stream(self.link.connection, self.config, self.queue_name)

    async def put(self, queue: str, message: Message) -> None:
        await put(self.link.connection, queue, message, published_as(message), spare=HEADER_ROOM)

    async def put_anew(self, queue: str, message: Message) -> None:
        try:
            await super().put_anew(queue, message)
        except UnroutableError as error:  # it has no leader at the moment
            raise BrokerUnavailableError(str(error)) from error
