"""RabbitMQMessageHandler: settles deliveries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.queue.errors import AckLostError, BrokerError, PublishError, UnroutableError
from app.queue.interfaces import Delivery, Message, Place, QueueProcessor
from app.queue.names import place_name
from app.queue.providers.rabbitmq.channel import PublishChannel
from app.queue.providers.rabbitmq.delivery import Token
from app.queue.providers.rabbitmq.topology import ensure, queue_specs

if TYPE_CHECKING:
    from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig


class RabbitMQMessageHandler(QueueProcessor):
    """Acks on the channel of the delivery; hands over by a confirmed publish on another connection, and then acks.

    Two steps, so a crash between them leaves the message in both places. It is never in neither.
    """

    config: RabbitMQQueueConfig

    def __init__(self, queue_name: str, config: RabbitMQQueueConfig) -> None:
        super().__init__(queue_name, config)
        self._channel = PublishChannel(config)

    async def ack(self, delivery: Delivery) -> None:
        token: Token = delivery.token
        token.ack()

    async def hand_over(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        token: Token = delivery.token
        token.check()
        target = place_name(self.queue_name, place, delay)
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await self._put(target, message)
        except TimeoutError:
            raise PublishError(f"the broker did not confirm for {target!r} in time", may_have_landed=True) from None
        try:
            await self.ack(delivery)
        except BrokerError as error:
            raise AckLostError(str(error)) from error

    async def close(self) -> None:
        await self._channel.close()

    async def _put(self, target: str, message: Message) -> None:
        await self._channel.open()
        try:
            await self._channel.put(target, message)
        except UnroutableError:
            # Somebody deleted it while we consumed.
            await ensure(self._channel.connection, list(queue_specs(self.config)), declare=self.config.declare)
            await self._channel.put(target, message)
