# The template's: an update changes it. Which files are yours: README.md.
"""AsyncRabbitMQConsumer: one channel, one consumer."""

from __future__ import annotations

from functools import partial
from typing import Any

import aiormq.abc

from app.queue.broker.pushed import PushedConsumer
from app.queue.interfaces import Dispatcher
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.deliveries import ConsumeChannel, to_delivery
from app.queue.providers.rabbitmq.errors import ack_timeout, translated
from app.queue.providers.rabbitmq.topology import ensure, queue_specs

REQUEST_TIMEOUT = 10.0


class AsyncRabbitMQConsumer(PushedConsumer[ConsumeChannel]):
    """Declares the queue and its places, then consumes.

    It is renewed on a new channel: RabbitMQ 3 takes a quorum queue that was deleted and made anew for one that has
    moved. It takes the consumer along, and then drops whatever the queue gives to the old channel.
    """

    config: RabbitMQQueueConfig

    def __init__(self, queue_name: str, config: RabbitMQQueueConfig, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config, dispatcher)
        self.settle_within = config.consumer_timeout or None

    def make_link(self) -> ConsumeChannel:
        return ConsumeChannel(self.config)

    async def lost(self) -> str:
        why = await super().lost()
        self.settle_within = ack_timeout(why) or self.settle_within
        return why

    async def ensure(self) -> None:
        await ensure(self.link.connection, list(queue_specs(self.config)), declare=self.config.declare)

    async def register(self, link: ConsumeChannel) -> str:
        underlay = link.underlay
        underlay.on_consumer_cancel_callbacks.add(self._on_cancelled)
        with translated(f"consuming {self.queue_name!r}"):
            # Here, so that nothing is ever consumed without a limit, whoever calls first on a new channel.
            await underlay.basic_qos(prefetch_count=self.window, timeout=REQUEST_TIMEOUT)
            take = partial(self._on_message, link)
            answer = await underlay.basic_consume(self.queue_name, take, timeout=REQUEST_TIMEOUT)
        return answer.consumer_tag or ""

    async def cancel(self, registration: str) -> None:
        await self.link.flush()
        with translated(f"cancelling the consumer of {self.queue_name!r}"):
            await self.link.underlay.basic_cancel(registration, timeout=REQUEST_TIMEOUT)

    async def _on_message(self, link: ConsumeChannel, received: aiormq.abc.DeliveredMessage) -> None:
        self.took(link, to_delivery(self.queue_name, link, received))

    def _on_cancelled(self, _: Any) -> None:
        self.cancelled()
