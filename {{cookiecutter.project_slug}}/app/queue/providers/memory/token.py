"""What stands for a message in hand."""

from __future__ import annotations

import asyncio

from app.queue.interfaces import Message
from app.queue.providers.memory.broker import broker


class Token:
    """One taken message. It is settled once: by `settle()`, or by `put_back()` when its consumer closes."""

    __slots__ = ("_in_hand", "_message", "_place", "_wake")

    def __init__(self, place: str, message: Message, in_hand: set[Token], wake: asyncio.Event | None = None) -> None:
        self._place = place
        self._message = message
        self._in_hand = in_hand
        self._wake = wake
        in_hand.add(self)

    @property
    def valid(self) -> bool:
        """False once it is settled or put back."""
        return self in self._in_hand

    def settle(self) -> None:
        """Forget the message."""
        self._in_hand.discard(self)
        if self._wake is not None:
            self._wake.set()

    def put_back(self) -> None:
        """Return the message to the head of its place."""
        self._in_hand.discard(self)
        broker.put_back(self._place, self._message)
