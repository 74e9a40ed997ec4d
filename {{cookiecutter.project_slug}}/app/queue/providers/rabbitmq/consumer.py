"""AsyncRabbitMQConsumer: one channel, one consumer."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import aiormq.abc

from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import QueueConsumer
from app.queue.processor import MessageProcessor
from app.queue.providers.rabbitmq.acks import ConsumeChannel
from app.queue.providers.rabbitmq.delivery import to_delivery
from app.queue.providers.rabbitmq.errors import translated
from app.queue.providers.rabbitmq.topology import ensure, queue_specs

if TYPE_CHECKING:
    from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig

REQUEST_TIMEOUT = 10.0


class AsyncRabbitMQConsumer(QueueConsumer):
    """Declares the queue and its places, then receives up to `prefetch` messages at a time."""

    config: RabbitMQQueueConfig

    def __init__(self, queue_name: str, config: RabbitMQQueueConfig, dispatcher: MessageProcessor) -> None:
        super().__init__(queue_name, config, dispatcher)
        self._channel = ConsumeChannel(config)
        self._consumer_tag: str | None = None
        self._changing = asyncio.Lock()
        self._received = 0
        self._closes = 0

    async def open(self) -> None:
        self._consumer_tag = None
        await self._channel.open()
        try:
            specs = list(queue_specs(self.config))
            await ensure(self._channel.connection, specs, declare=self.config.declare)
            await self.start_intake()
        except BaseException:
            await self.close()
            raise

    async def lost(self) -> str:
        while True:
            channel = self._channel
            why = await channel.lost()
            if channel is self._channel:  # else it is renewed
                return why

    async def close(self) -> None:
        self._closes += 1
        self._consumer_tag = None
        await self._channel.close()

    async def start_intake(self) -> None:
        async with self._changing:
            if self._consumer_tag is None:
                self._consumer_tag = await self._consume(self._channel)

    async def stop_intake(self) -> None:
        async with self._changing:
            tag, self._consumer_tag = self._consumer_tag, None
            if tag is not None:
                await self._cancel(tag)

    async def renew(self) -> None:
        """On a new channel: RabbitMQ 3 takes a quorum queue that was deleted and made anew for one that has moved.

        It takes the consumer along, and then drops whatever the queue gives to the old channel.
        """
        async with self._changing:
            if not self.registered or self._consumer_tag is None:
                return
            spare, channel, received = ConsumeChannel(self.config), self._channel, self._received
            closes = self._closes
            try:
                await spare.open()
                await self._cancel(self._consumer_tag)
                # If something came meanwhile it is in hand, and can be settled on its own channel alone.
                chosen = spare if self._received == received else channel
                tag = await self._consume(chosen)
                if closes != self._closes or not channel.is_open:
                    raise BrokerUnavailableError("closed while the consumer was renewed")
                spare = channel if chosen is spare else spare
                self._channel, self._consumer_tag = chosen, tag
            except BrokerError as error:
                channel.lose(str(error))
                raise
            finally:
                await spare.close()

    @property
    def registered(self) -> bool:
        return self._consumer_tag is not None and self._channel.is_open

    async def _consume(self, channel: ConsumeChannel) -> str | None:
        """Consume on the channel, and return the consumer's tag."""
        underlay = channel.underlay
        underlay.on_consumer_cancel_callbacks.add(self._on_cancelled)
        with translated(f"consuming {self.queue_name!r}"):
            # Here, so that nothing is ever consumed without a limit, whoever calls first on a new channel.
            await underlay.basic_qos(prefetch_count=self.config.prefetch, timeout=REQUEST_TIMEOUT)
            answer = await underlay.basic_consume(
                self.queue_name, partial(self._on_message, channel), timeout=REQUEST_TIMEOUT
            )
        return answer.consumer_tag

    async def _cancel(self, tag: str) -> None:
        await self._channel.flush()
        with translated(f"cancelling the consumer of {self.queue_name!r}"):
            await self._channel.underlay.basic_cancel(tag, timeout=REQUEST_TIMEOUT)

    async def _on_message(self, channel: ConsumeChannel, received: aiormq.abc.DeliveredMessage) -> None:
        if self.on_delivery is None:
            raise BrokerUnavailableError("nothing was set to take deliveries")
        self._received += 1
        redelivered = bool(received.redelivered)
        delivery = to_delivery(self.queue_name, channel, received, redelivered=redelivered)
        # A task of our own, because aiormq cancels this one when the channel closes. The worker keeps hold of it.
        asyncio.get_running_loop().create_task(self.on_delivery(delivery))

    def _on_cancelled(self, _: Any) -> None:
        self._consumer_tag = None
        self._channel.lose(f"the broker cancelled the consumer: was the queue {self.queue_name!r} deleted?")
