# The template's: an update changes it. Which files are yours: README.md.
"""Acks in batches, and the channel that they go out on."""

from __future__ import annotations

import aiormq.abc

from app.queue.broker.ack_window import Ack
from app.queue.broker.acks import BatchedAcks
from app.queue.broker.pushed import PushLink
from app.queue.errors import DeliveryLostError
from app.queue.providers.rabbitmq.channel import Channel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose, RabbitMQConnection
from app.queue.providers.rabbitmq.errors import translated

GONE = "the delivery's channel is gone"


class Acks(BatchedAcks):
    """On one of aiormq's channels."""

    def __init__(self, channel: aiormq.abc.AbstractChannel, prefetch: int) -> None:
        super().__init__(prefetch)
        self._channel = channel

    @property
    def over(self) -> bool:
        return self._channel.is_closed

    async def send(self, ack: Ack) -> None:
        with translated("ack"):
            await self._channel.basic_ack(ack.tag, ack.multiple, wait=False)


class ConsumeChannel(Channel, PushLink[RabbitMQConnection]):
    """A channel that receives, and acks what it received."""

    def __init__(self, config: RabbitMQQueueConfig) -> None:
        super().__init__(config, Purpose.CONSUME)
        self._acks: Acks | None = None

    async def open(self) -> None:
        await super().open()
        if self._acks is None:
            self._acks = Acks(self.underlay, self._config.prefetch)
            self.in_flight = 0

    def ack(self, underlay: aiormq.abc.AbstractChannel, tag: int) -> None:
        """Ack what came over `underlay`, together with others. Raises DeliveryLostError."""
        if self._channel is not underlay or underlay.is_closed or self._acks is None:
            raise DeliveryLostError(GONE)
        self._acks.ack(tag)
        self.in_flight -= 1

    def check(self, underlay: aiormq.abc.AbstractChannel) -> None:
        """Raise DeliveryLostError if the channel is another one by now: tags mean nothing there."""
        if not self.is_open or self._channel is not underlay:
            raise DeliveryLostError(GONE)

    async def flush(self) -> None:
        """Send the acks that wait for others."""
        if self._acks is not None and self.is_open:
            await self._acks.flush()

    async def _close(self) -> None:
        await self.flush()
        acks, self._acks = self._acks, None
        await super()._close()
        if acks is not None:
            acks.close()
