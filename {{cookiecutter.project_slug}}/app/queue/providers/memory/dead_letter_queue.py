"""MemoryDeadLetterQueueHandler: reads `dlq_<queue>`, or another place."""

from __future__ import annotations

from app.queue.config import QueueConfig
from app.queue.interfaces import DeadLetterQueueHandler, Delivery, Place
from app.queue.names import place_name
from app.queue.providers.memory.broker import broker
from app.queue.providers.memory.token import Token


class MemoryDeadLetterQueueHandler(DeadLetterQueueHandler):
    """Takes from the head."""

    def __init__(self, queue_name: str, config: QueueConfig, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config, place)
        self._name = place_name(queue_name, place)
        self._in_hand: set[Token] = set()

    async def depth(self) -> int:
        return broker.depth(self._name)

    async def take(self) -> Delivery | None:
        taken = broker.take(self._name)
        if taken is None:
            return None
        token = Token(self._name, taken[0], self._in_hand)
        return Delivery(self.queue_name, taken[0], taken[1], token, taken[0].message_id)

    async def close(self) -> None:
        for token in list(self._in_hand):
            token.put_back()
