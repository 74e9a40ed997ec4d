# The template's: an update changes it. Which files are yours: README.md.
"""RedisMessageHandler: settles deliveries."""

from __future__ import annotations

from app.queue.broker.processor import BrokerProcessor
from app.queue.interfaces import Delivery, Message, Place
from app.queue.messages.message import undivided_name
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.messages import to_fields


class RedisMessageHandler(BrokerProcessor):
    """Either way it is one step of the server's, over the link that the delivery came by: a message is in one place."""

    config: RedisQueueConfig

    async def forget(self, delivery: Delivery) -> None:
        await delivery.token.leases.ack(delivery.token)

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        delivery.token.check()
        target, leases = undivided_name(self.queue_name, place), delivery.token.leases
        for_how_long = delay if place is Place.RETRY else None
        moving = leases.settle(leases.move(delivery.token, target, to_fields(message), for_how_long))
        await self.in_time(target, moving)
