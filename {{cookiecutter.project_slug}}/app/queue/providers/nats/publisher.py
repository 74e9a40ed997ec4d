"""NatsPublisher: publishes with an acknowledgement, to the queue's stream and no other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from app.queue.errors import BrokerUnavailableError, PublisherBlockedError, UnroutableError
from app.queue.interfaces import Message, PublisherState
from app.queue.middleware import PublishMiddleware
from app.queue.providers.nats.link import NatsLink
from app.queue.providers.nats.messages import published_as
from app.queue.providers.nats.put import put
from app.queue.providers.nats.streams import ensure_stream
from app.queue.publisher import GuardedPublisher

if TYPE_CHECKING:
    from app.queue.providers.nats.config import NatsQueueConfig

BLOCKED_FOR = 10.0
"""Seconds for which a refusal for lack of room counts: the server does not say when there is room again."""


class NatsPublisher(GuardedPublisher):
    """A queue's name is its subject."""

    config: NatsQueueConfig

    def __init__(
        self, queue_name: str, config: NatsQueueConfig, middleware: tuple[PublishMiddleware, ...] = ()
    ) -> None:
        super().__init__(queue_name, config, middleware)
        self._link = NatsLink(config)
        self._blocked_until = 0.0

    async def open(self) -> None:
        if self._link.is_open:
            return
        await self._link.open()
        try:
            await ensure_stream(self._link.connection, self.config, self.queue_name)
        except BaseException:
            await self._link.close()
            raise
        self.breaker.reset()

    async def lost(self) -> str:
        return await self._link.lost()

    async def close(self) -> None:
        await self._link.close()

    @property
    def state(self) -> PublisherState:
        if not self._link.is_open:
            return "down"
        return "blocked" if time.monotonic() < self._blocked_until else "ready"

    async def send(self, queue: str, message: Message) -> None:
        try:
            await self._put(queue, message)
        except PublisherBlockedError:
            self._blocked_until = time.monotonic() + BLOCKED_FOR
            raise
        self._blocked_until = 0.0

    async def _put(self, queue: str, message: Message) -> None:
        connection = self._link.connection
        try:
            await put(connection, queue, message, published_as(message))
        except UnroutableError:
            if queue != self.queue_name:
                raise
            # Somebody deleted it, or it has no leader at the moment.
            await ensure_stream(connection, self.config, queue)
            try:
                await put(connection, queue, message, published_as(message))
            except UnroutableError as error:
                raise BrokerUnavailableError(str(error)) from error
