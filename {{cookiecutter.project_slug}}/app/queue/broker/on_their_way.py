# The template's: an update changes it. Which files are yours: README.md.
"""OnTheirWay: messages that were on their way to a consumer when it stopped receiving, so that nobody died of them."""

from __future__ import annotations

from app.queue.clock import now

COME_WITHIN = 120.0  # seconds in which a broker delivers again what was on its way


class OnTheirWay:
    """How many messages, of which no more is known, may still come again for no other reason than that."""

    def __init__(self) -> None:
        self._left = 0
        self._until = 0.0

    def expect(self, count: int) -> None:
        """So many were on their way at most, as of now."""
        self._left = max(count, self._left if now() < self._until else 0)
        self._until = now() + COME_WITHIN

    def take(self) -> bool:
        """A message came again. True if it may be one of these; then there is one less."""
        if not self._left or now() >= self._until:
            return False
        self._left -= 1
        return True
