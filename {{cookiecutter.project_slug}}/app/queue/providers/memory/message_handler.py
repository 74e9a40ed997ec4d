"""MemoryMessageHandler: settles deliveries."""

from __future__ import annotations

from app.queue.errors import DeliveryLostError
from app.queue.interfaces import Delivery, Message, Place, QueueProcessor
from app.queue.names import place_name
from app.queue.providers.memory.broker import broker
from app.queue.providers.memory.token import Token


class MemoryMessageHandler(QueueProcessor):
    """Nothing here can fail, save that a delivery's consumer was closed meanwhile."""

    async def ack(self, delivery: Delivery) -> None:
        self._valid(delivery).settle()

    async def hand_over(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        token = self._valid(delivery)
        broker.put(place_name(self.queue_name, Place.QUEUE if place is Place.RETRY else place), message, delay)
        token.settle()

    async def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _valid(delivery: Delivery) -> Token:
        token: Token = delivery.token
        if not token.valid:
            raise DeliveryLostError("the delivery's consumer was closed; the message will be delivered again")
        return token
