"""MemoryDeadLetterQueueHandler: reads `dlq_<queue>`."""

from __future__ import annotations

from app.queue.config import QueueConfig
from app.queue.interfaces import DeadLetterQueueHandler, Delivery
from app.queue.names import dlq_name
from app.queue.providers.memory.broker import broker
from app.queue.providers.memory.token import Token


class MemoryDeadLetterQueueHandler(DeadLetterQueueHandler):
    """Takes from the head."""

    def __init__(self, queue_name: str, config: QueueConfig) -> None:
        super().__init__(queue_name, config)
        self._in_hand: set[Token] = set()

    async def depth(self) -> int:
        return broker.depth(dlq_name(self.queue_name))

    async def take(self) -> Delivery | None:
        taken = broker.take(dlq_name(self.queue_name))
        if taken is None:
            return None
        token = Token(dlq_name(self.queue_name), taken[0], self._in_hand)
        return Delivery(self.queue_name, taken[0], token=token, identity=taken[0].message_id)

    async def close(self) -> None:
        for token in list(self._in_hand):
            token.put_back()
