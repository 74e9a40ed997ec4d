# The template's: an update changes it. Which files are yours: README.md.
"""What of a message is an order to RabbitMQ: headers and properties on which it acts when the message is published."""

from __future__ import annotations

from app.queue.broker.shortening import without
from app.queue.interfaces import Message

HEADERS = ("CC", "BCC")  # sender-selected distribution: further queues that get the message. In capitals only
BEGINNINGS = (
    "x-delay",  # the delayed-message plugin
    *("x-deduplication-header", "x-cache-ttl"),  # the deduplication plugin
    "x-received-from",  # federation: how far it has come, and whether it goes further
    "x-stream-",  # streams: filters and offsets
)
DEATHS = ("x-death", "x-first-death", "x-last-death")
"""With these of a chain of wait queues, RabbitMQ takes a message for one that goes round in circles, and drops it."""
COUNTS = ("x-delivery-count", "x-acquired-count")
PROPERTIES = ("expiration", "user_id")  # the one would make it vanish from a DLQ; the other only that user may send
FAST_REPLY = "amq.rabbitmq.reply-to"  # in `reply_to`: answers go to who publishes. Refused of us, who wait for none


def without_orders(message: Message, queue: str) -> Message:
    """The message of that queue as it may be published again."""
    headers, properties = message.headers, message.properties
    counts = [name for name in headers if name.startswith(COUNTS)]
    deaths = [name for name in headers if name.startswith(DEATHS)]
    orders = [name for name in headers if name in HEADERS or name.startswith(BEGINNINGS)]
    orders += [name for name in PROPERTIES if getattr(properties, name, None)]
    orders += [name for name in headers if len(name.encode()) > 128]  # pamqp would cut it, and make one of two
    if getattr(properties, "reply_to", None) == FAST_REPLY:
        orders.append("reply_to")
    # Those of our own wait queues would stand in every dead letter.
    ours = str(headers.get("x-first-death-queue", "")).startswith(f"retry_{queue}_")
    return without(message, orders if ours else orders + deaths, counts + deaths)
