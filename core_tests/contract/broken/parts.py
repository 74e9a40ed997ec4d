"""The parts of a provider, each around another one to which it passes everything on: what a broken one is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.queue.interfaces import (
    Body,
    BreakerState,
    DeadLetterQueueHandler,
    Delivery,
    Message,
    Place,
    PublisherState,
    QueueConsumer,
    QueueHealthCheck,
    QueueProcessor,
    QueuePublisher,
)


class WrappedConsumer(QueueConsumer):
    """A consumer around another one."""

    def __init__(self, inner: QueueConsumer) -> None:
        super().__init__(inner.queue_name, inner.config, inner.dispatcher)
        self.inner = inner
        inner.on_delivery = self.received

    async def received(self, delivery: Delivery) -> None:
        """Something came."""
        assert self.on_delivery is not None
        await self.on_delivery(delivery)

    async def open(self) -> None:
        await self.inner.open()

    async def lost(self) -> str:
        return await self.inner.lost()

    async def close(self) -> None:
        await self.inner.close()

    async def stop_intake(self) -> None:
        await self.inner.stop_intake()

    async def start_intake(self) -> None:
        await self.inner.start_intake()

    async def make_room(self, held: int) -> None:
        await self.inner.make_room(held)

    @property
    def registered(self) -> bool:
        return self.inner.registered


class WrappedProcessor(QueueProcessor):
    """What settles, around another one."""

    def __init__(self, inner: QueueProcessor) -> None:
        super().__init__(inner.queue_name, inner.config)
        self.inner = inner

    async def ack(self, delivery: Delivery) -> None:
        await self.inner.ack(delivery)

    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        await self.inner.move(delivery, message, place, delay)

    @property
    def state(self) -> PublisherState | None:
        return self.inner.state

    async def close(self) -> None:
        await self.inner.close()


class WrappedPublisher(QueuePublisher):
    """A publisher around another one."""

    def __init__(self, inner: QueuePublisher) -> None:
        super().__init__(inner.queue_name, inner.config)
        self.inner = inner

    async def open(self) -> None:
        await self.inner.open()

    async def lost(self) -> str:
        return await self.inner.lost()

    async def close(self) -> None:
        await self.inner.close()

    @property
    def state(self) -> PublisherState:
        return self.inner.state

    @property
    def breaker_state(self) -> BreakerState:
        return self.inner.breaker_state

    async def publish_message(
        self,
        queue: str,
        body: Body,
        *,
        message_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        return await self.inner.publish_message(queue, body, message_id=message_id, headers=headers)


class WrappedReader(DeadLetterQueueHandler):
    """A reader around another one."""

    def __init__(self, inner: DeadLetterQueueHandler) -> None:
        super().__init__(inner.queue_name, inner.config, inner.place)
        self.inner = inner

    async def depth(self) -> int:
        return await self.inner.depth()

    async def receive(self) -> Delivery | None:
        return await self.inner.receive()

    async def close(self) -> None:
        await self.inner.close()


class WrappedHealthCheck(QueueHealthCheck):
    """A health check around another one."""

    def __init__(self, inner: QueueHealthCheck) -> None:
        super().__init__(inner.queue_name, inner.config)
        self.inner = inner

    async def probe(self) -> None:
        await self.inner.probe()
