"""From aiormq's message to ours."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import aiormq.abc

from app.queue.errors import DeliveryLostError
from app.queue.interfaces import Delivery, Message
from app.queue.providers.rabbitmq.channel import Channel


@dataclass(frozen=True, slots=True)
class Token:
    """What acks a delivery: its channel, as it was then, and its number there."""

    channel: Channel
    underlay: aiormq.abc.AbstractChannel
    tag: int

    def check(self) -> None:
        """Raise DeliveryLostError if the channel is gone: numbers mean nothing on the next one."""
        if not self.channel.is_open or self.channel.underlay is not self.underlay:
            raise DeliveryLostError("the delivery's channel is gone")

    async def ack(self) -> None:
        """Ack. Raises DeliveryLostError."""
        self.check()
        await self.underlay.basic_ack(self.tag, wait=False)


def to_delivery(queue: str, channel: Channel, received: aiormq.abc.DeliveredMessage, *, redelivered: bool) -> Delivery:
    """A received message in hand. One without an id gets one, so that there is something to call it by."""
    properties = received.header.properties
    own_id = properties.message_id or ""
    message = Message(received.body, own_id or uuid.uuid4().hex, properties.headers or {}, properties)
    token = Token(channel, received.channel, received.delivery_tag or 0)
    return Delivery(queue, message, redelivered, token, identity=own_id)
