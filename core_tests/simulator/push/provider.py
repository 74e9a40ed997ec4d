"""The provider for the broker that pushes. It is made of the kit, and does as RabbitMQ's does."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any

from app.queue.broker.linked_publisher import LinkedPublisher
from app.queue.broker.processor import LinkedProcessor
from app.queue.broker.pushed import PushedConsumer
from app.queue.interfaces import Claims, DeadLetterQueueHandler, Delivery, Dispatcher, Message, Place, Provider
from app.queue.messages.message import place_name, wait_of
from core_tests.simulator.connection import (
    REQUEST_TIMEOUT,
    SimulatedConfig,
    SimulatedConnection,
    SimulatedHealthCheck,
    here,
)
from core_tests.simulator.push.links import ChannelLink, PublishLink


class PushConsumer(PushedConsumer[ChannelLink]):
    """One channel, one consumer."""

    config: SimulatedConfig

    def __init__(self, queue_name: str, config: SimulatedConfig, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config, dispatcher)
        self.settle_within = config.consumer_timeout or None

    async def lost(self) -> str:
        why = await super().lost()
        if self.link.settle_within is not None:
            self.settle_within = self.link.settle_within
            here().broker.told(here())
        return why

    def make_link(self) -> ChannelLink:
        return ChannelLink(self.config)

    async def ensure(self) -> None:
        """The queue is there."""

    async def register(self, link: ChannelLink) -> str:
        take = partial(self._on_message, link, link.channel)
        await link.connection.call("consume", link.channel, self.queue_name, self.config.prefetch, take)
        return "the one of this channel"

    async def cancel(self, registration: str) -> None:
        await self.link.connection.call("cancel", self.link.channel)

    def _on_message(
        self, link: ChannelLink, channel: Any, tag: int, message: Message, redelivered: bool, before: int
    ) -> None:
        if channel is link.channel:
            self.took(link, link.delivery(self.queue_name, tag, message, redelivered=redelivered))


class PushProcessor(LinkedProcessor[SimulatedConnection]):
    """Acks on the channel of the delivery; puts by a confirmed publish on another connection."""

    link: PublishLink

    def make_link(self) -> PublishLink:
        return PublishLink(self.config)

    async def ack(self, delivery: Delivery) -> None:
        delivery.token.ack()

    async def forget(self, delivery: Delivery) -> None:
        delivery.token.ack()

    def place(self, place: Place, delay: float) -> str:
        return super().place(place, wait_of(self.config.retry.delays(), delay))

    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        await self.link.put(target, message)


class PushPublisher(LinkedPublisher[SimulatedConnection]):
    """Publishes, with confirms."""

    link: PublishLink
    blocked_for = 0.0

    def make_link(self) -> PublishLink:
        return PublishLink(self.config)

    async def ensure(self) -> None:
        """The queue is there."""

    def put(self, queue: str, message: Message) -> Awaitable[None]:
        return self.link.put(queue, message)


class PushReader(DeadLetterQueueHandler):
    """Gets one message at a time, on a channel of its own."""

    def __init__(self, queue_name: str, config: SimulatedConfig, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config, place)
        self._name = place_name(queue_name, place)
        self._link = ChannelLink(config)

    async def depth(self) -> int:
        await self._link.open()
        return int(await self._link.connection.call("depth", self._name, timeout=REQUEST_TIMEOUT))

    async def receive(self) -> Delivery | None:
        await self._link.open()
        got = await self._link.connection.call("get", self._link.channel, self._name)
        if got is None:
            return None
        tag, message, redelivered, _ = got
        return self._link.delivery(self.queue_name, tag, message, redelivered=redelivered)

    async def close(self) -> None:
        await self._link.close()


provider = Provider(
    *(SimulatedConfig, PushConsumer, PushProcessor, PushPublisher),
    *(PushReader, SimulatedHealthCheck),
    claims=Claims(confirms_acks=False),
)
