# The template's: an update changes it. Which files are yours: README.md.
"""From aiormq's message to ours."""

from __future__ import annotations

import secrets
from typing import NamedTuple

import aiormq.abc

from app.queue.interfaces import Arrival, Delivery, Message
from app.queue.providers.rabbitmq.acks import ConsumeChannel


class Token(NamedTuple):
    """What acks a delivery: its channel, as it was then, and its number there."""

    channel: ConsumeChannel
    underlay: aiormq.abc.AbstractChannel
    tag: int

    def check(self) -> None:
        """Raise DeliveryLostError if the channel is gone."""
        self.channel.check(self.underlay)

    def ack(self) -> None:
        """Ack. Raises DeliveryLostError."""
        self.channel.ack(self.underlay, self.tag)


def to_delivery(queue: str, channel: ConsumeChannel, received: aiormq.abc.DeliveredMessage) -> Delivery:
    """A received message in flight. One without an id gets one, so that there is something to call it by."""
    properties = received.header.properties
    own_id = properties.message_id or ""
    message = Message(
        received.body,
        own_id or secrets.token_hex(16),
        properties.headers or {},
        properties,
        properties.content_encoding or "",
    )
    arrival = Arrival.ABANDONED if received.redelivered else Arrival.NEW
    token = Token(channel, received.channel, received.delivery_tag or 0)
    return Delivery(queue, message, arrival, token, identity=own_id)
