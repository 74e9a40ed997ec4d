"""RabbitMQHealthCheck: a round trip over each connection of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.queue.interfaces import QueueHealthCheck
from app.queue.providers.rabbitmq.connection import RabbitMQConnectionManager

if TYPE_CHECKING:
    from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig


class RabbitMQHealthCheck(QueueHealthCheck):
    """Opens and closes a channel: the cheapest question that only a living broker answers."""

    config: RabbitMQQueueConfig

    async def probe(self) -> None:
        await RabbitMQConnectionManager.of(self.config).probe()
