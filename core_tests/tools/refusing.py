"""A place of the embedded provider that takes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.queue.errors import BrokerRefusedError
from app.queue.interfaces import Delivery, Message, Place
from app.queue.providers.memory.parts import MemoryMessageHandler


def refuse(monkeypatch: pytest.MonkeyPatch, refused: Place, when: Callable[[], bool] = lambda: True) -> None:
    """From now on, that place takes nothing while `when()` is true."""
    original = MemoryMessageHandler.move

    async def move(
        processor: MemoryMessageHandler, delivery: Delivery, message: Message, place: Place, delay: float = 0.0
    ) -> None:
        if place is refused and when():
            raise BrokerRefusedError(f"{place} is full")
        await original(processor, delivery, message, place, delay)

    monkeypatch.setattr(MemoryMessageHandler, "move", move)
