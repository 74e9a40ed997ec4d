# The template's: an update changes it. Which files are yours: README.md.
"""NatsMessageHandler: settles deliveries."""

from __future__ import annotations

from app.queue.broker.processor import LinkedProcessor
from app.queue.broker.shortening import without
from app.queue.interfaces import Delivery, Message, Place
from app.queue.messages.message import undivided_name
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.connection import NatsConnection, NatsConnectionManager
from app.queue.providers.nats.messages import moved_as, orders
from app.queue.providers.nats.put import put
from app.queue.providers.nats.streams import ensure_stream


class NatsMessageHandler(LinkedProcessor[NatsConnection]):
    """Acks, which the server confirms; puts by a confirmed publish, of which the server drops the repeats."""

    config: NatsQueueConfig
    pool = NatsConnectionManager
    drops_repeats = True

    def place(self, place: Place, delay: float) -> str:  # noqa: ARG002 - all delays are in one place
        return undivided_name(self.queue_name, place)

    async def forget(self, delivery: Delivery) -> None:
        await delivery.token.leases.ack(delivery.token)

    def carried(self, delivery: Delivery, message: Message) -> Message:
        return without(message, orders(delivery.token.received, message))

    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        await put(self.link.connection, target, message, moved_as(delivery.token.received), delay=delay)

    async def ensure(self, target: str) -> None:
        await ensure_stream(self.link.connection, self.config, target)
