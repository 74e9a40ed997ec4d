# The template's: an update changes it. Which files are yours: README.md.
"""RabbitMQDeadLetterQueueHandler: reads `dlq_<queue>`, or another place, one message at a time."""

from __future__ import annotations

from aiormq import spec

from app.queue.interfaces import DeadLetterQueueHandler, Delivery, Place
from app.queue.messages.message import place_name
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.deliveries import ConsumeChannel, to_delivery
from app.queue.providers.rabbitmq.errors import translated

REQUEST_TIMEOUT = 10.0


class RabbitMQDeadLetterQueueHandler(DeadLetterQueueHandler):
    """`basic.get` on a channel of its own: a pass is rare, and takes no more than it can settle."""

    config: RabbitMQQueueConfig

    def __init__(self, queue_name: str, config: RabbitMQQueueConfig, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config, place)
        self._name = place_name(queue_name, place)
        self._channel = ConsumeChannel(config)

    async def depth(self) -> int:
        await self._channel.open()
        with translated(f"queue {self._name!r}"):
            answer = await self._channel.underlay.queue_declare(self._name, passive=True, timeout=REQUEST_TIMEOUT)
        return answer.message_count or 0

    async def receive(self) -> Delivery | None:
        await self._channel.open()
        with translated(f"queue {self._name!r}"):
            received = await self._channel.underlay.basic_get(self._name, timeout=REQUEST_TIMEOUT)
        if isinstance(received.delivery, spec.Basic.GetEmpty):
            return None
        return to_delivery(self.queue_name, self._channel, received)

    async def close(self) -> None:
        await self._channel.close()
