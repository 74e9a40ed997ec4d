"""RedisMessageHandler: settles deliveries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.queue.errors import BrokerUnavailableError, PublishError
from app.queue.interfaces import Delivery, Message, Place, QueueProcessor
from app.queue.providers.redis.hand import Token
from app.queue.providers.redis.messages import to_fields
from app.queue.providers.redis.streams import key

if TYPE_CHECKING:
    from app.queue.providers.redis.config import RedisQueueConfig


class RedisMessageHandler(QueueProcessor):
    """Either way it is one step of the server's, over the link that the delivery came by: a message is in one place."""

    config: RedisQueueConfig

    async def ack(self, delivery: Delivery) -> None:
        token: Token = delivery.token
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await token.hand.ack(token)
        except TimeoutError:
            raise BrokerUnavailableError("the server did not confirm the ack in time") from None

    async def hand_over(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        token: Token = delivery.token
        target = key(self.queue_name, place)
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await token.hand.hand_over(token, target, to_fields(message), delay if place is Place.RETRY else None)
        except TimeoutError:
            raise PublishError(f"the broker did not confirm for {target!r} in time", may_have_landed=True) from None

    async def close(self) -> None:
        """Nothing of its own is open."""
