"""From aiormq's message to ours."""

from __future__ import annotations

import uuid

import aiormq.abc

from app.queue.interfaces import Delivery, Message


def to_delivery(queue: str, received: aiormq.abc.DeliveredMessage, *, redelivered: bool) -> Delivery:
    """A received message in hand. One without an id gets one, so that there is something to call it by."""
    properties = received.header.properties
    message = Message(received.body, properties.message_id or uuid.uuid4().hex, properties.headers or {}, properties)
    return Delivery(queue, message, redelivered, received)
