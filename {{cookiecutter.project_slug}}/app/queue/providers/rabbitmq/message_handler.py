# The template's: an update changes it. Which files are yours: README.md.
"""RabbitMQMessageHandler: settles deliveries."""

from __future__ import annotations

from app.queue.broker.processor import LinkedProcessor
from app.queue.errors import BrokerRefusedError
from app.queue.interfaces import Delivery, Message, Place, PublisherState
from app.queue.messages.message import wait_of
from app.queue.providers.rabbitmq.channel import BodyTooLargeError, PublishChannel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import RabbitMQConnection
from app.queue.providers.rabbitmq.orders import without_orders
from app.queue.providers.rabbitmq.topology import ensure, queue_specs


class RabbitMQMessageHandler(LinkedProcessor[RabbitMQConnection]):
    """Acks on the channel of the delivery; puts by a confirmed publish on another connection."""

    config: RabbitMQQueueConfig
    link: PublishChannel

    def __init__(self, queue_name: str, config: RabbitMQQueueConfig) -> None:
        super().__init__(queue_name, config)
        self._delays = config.retry.delays()

    def make_link(self) -> PublishChannel:
        return PublishChannel(self.config)

    @property
    def state(self) -> PublisherState:
        return self.link.state

    async def ack(self, delivery: Delivery) -> None:  # nothing to wait for: the frame goes with those of others
        delivery.token.ack()

    def place(self, place: Place, delay: float) -> str:
        return super().place(place, wait_of(self._delays, delay))

    async def forget(self, delivery: Delivery) -> None:
        await self.ack(delivery)

    def carried(self, delivery: Delivery, message: Message) -> Message:  # noqa: ARG002 - all is in the message
        return without_orders(message, self.queue_name)

    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:  # noqa: ARG002
        try:
            await self.link.put(target, message)
        except BodyTooLargeError as error:
            # The broker had a higher limit when it took it. It is kept until it has one again, and never dropped.
            raise BrokerRefusedError(str(error)) from None

    async def ensure(self, target: str) -> None:  # noqa: ARG002 - the others may have gone with it
        await ensure(self.link.connection, list(queue_specs(self.config)), declare=self.config.declare)
