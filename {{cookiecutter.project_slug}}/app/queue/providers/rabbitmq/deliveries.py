# The template's: an update changes it. Which files are yours: README.md.
"""The channel that receives, from aiormq's messages to ours, and back from acks to aiormq's frames."""

from __future__ import annotations

import secrets

import aiormq.abc

from app.queue.broker.ack_window import Ack
from app.queue.broker.acks import BatchedAcks, BatchedLink
from app.queue.broker.pushed import Tag
from app.queue.interfaces import Arrival, Delivery, Message
from app.queue.providers.rabbitmq.channel import Channel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose, RabbitMQConnection
from app.queue.providers.rabbitmq.errors import translated


class Acks(BatchedAcks):
    """On one of aiormq's channels."""

    def __init__(self, channel: aiormq.abc.AbstractChannel, prefetch: int, concurrency: int) -> None:
        super().__init__(prefetch, concurrency)
        self._channel = channel

    @property
    def over(self) -> bool:
        return self._channel.is_closed

    async def send(self, ack: Ack) -> None:
        with translated("ack"):
            await self._channel.basic_ack(ack.tag, ack.multiple, wait=False)


class ConsumeChannel(Channel, BatchedLink[RabbitMQConnection]):
    """A channel that receives, and acks what it received."""

    def __init__(self, config: RabbitMQQueueConfig) -> None:
        super().__init__(config, Purpose.CONSUME)

    def make_acks(self) -> Acks:
        return Acks(self.underlay, self._config.prefetch, self._config.concurrency)


def to_delivery(queue: str, link: ConsumeChannel, received: aiormq.abc.DeliveredMessage) -> Delivery:
    """A received message in flight. One without an id gets one, so that there is something to call it by."""
    properties = received.header.properties
    own_id, encoding = properties.message_id or "", properties.content_encoding or ""
    message = Message(received.body, own_id or secrets.token_hex(16), properties.headers or {}, properties, encoding)
    arrival = Arrival.ABANDONED if received.redelivered else Arrival.NEW
    return Delivery(queue, message, arrival, Tag(link, received.channel, received.delivery_tag or 0), identity=own_id)
