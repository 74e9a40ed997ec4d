# The template's: an update changes it. Which files are yours: README.md.
"""AsyncRabbitMQPublisher: persistent messages, confirmed, and an error if they went nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from app.queue.broker.linked_publisher import LinkedPublisher
from app.queue.interfaces import Message
from app.queue.providers.rabbitmq.channel import PublishChannel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import RabbitMQConnection
from app.queue.providers.rabbitmq.topology import ensure, publishing_spec

DELETION_GRACE = 0.5


class AsyncRabbitMQPublisher(LinkedPublisher[RabbitMQConnection]):
    """Publishes through the default exchange, so a routing key is a queue's name."""

    config: RabbitMQQueueConfig
    link: PublishChannel
    blocked_for = 0.0

    def make_link(self) -> PublishChannel:
        return PublishChannel(self.config)

    async def ensure(self) -> None:
        specs = [publishing_spec(self.config, self.queue_name)]
        await ensure(self.link.connection, specs, declare=self.config.declare)

    def put(self, queue: str, message: Message) -> Awaitable[None]:
        return self.link.put(queue, message)

    async def put_anew(self, queue: str, message: Message) -> None:
        # RabbitMQ 3 does not tell a quorum queue's consumers that it was deleted if a queue of the same name is made
        # before they could be told (some 50 ms, measured on 3.10): they would wait until they are renewed.
        await asyncio.sleep(DELETION_GRACE)
        await super().put_anew(queue, message)
