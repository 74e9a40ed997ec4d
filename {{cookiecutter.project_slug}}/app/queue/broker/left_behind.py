# The template's: an update changes it. Which files are yours: README.md.
"""What a move leaves behind: headers and properties by which a broker does something, instead of carrying them.

Whoever published the message gave that order once. Obeyed again with every move, it would route a copy elsewhere each
time, make a dead letter expire, or empty a stream.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from app.queue.broker.shortening import naming
from app.queue.messages.headers import MAX_TEXT
from app.queue.messages.message import Message


def without(message: Message, orders: Iterable[str], marks: Collection[str] = ()) -> Message:
    """The message without these headers.

    DROPPED names the `orders`, which may be properties, too; not the `marks`, which the broker itself has made.
    """
    orders = sorted(set(orders))
    if not orders and not marks:
        return message
    kept = {name: value for name, value in message.headers.items() if name not in orders and name not in marks}
    return replace(message, headers=naming(message.headers, kept, orders, MAX_TEXT) if orders else kept)
