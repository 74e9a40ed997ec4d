"""RedisPublisher: adds to a stream that is there, over the connection of the loop."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import redis.exceptions as redis

from app.queue.errors import BrokerUnavailableError, PublisherBlockedError, PublishError, UnroutableError
from app.queue.interfaces import Message, PublisherState
from app.queue.middleware import PublishMiddleware
from app.queue.providers.redis.errors import AWAY, broker_error, code, publish_error
from app.queue.providers.redis.link import RedisLink
from app.queue.providers.redis.messages import to_fields
from app.queue.providers.redis.streams import ensure_stream
from app.queue.publisher import GuardedPublisher

if TYPE_CHECKING:
    from app.queue.providers.redis.config import RedisQueueConfig

logger = logging.getLogger(__name__)

BLOCKED_FOR = 10.0
"""Seconds for which a refusal counts: the server does not say when it takes messages again."""


class RedisPublisher(GuardedPublisher):
    """A queue's name is its key."""

    config: RedisQueueConfig

    def __init__(
        self, queue_name: str, config: RedisQueueConfig, middleware: tuple[PublishMiddleware, ...] = ()
    ) -> None:
        super().__init__(queue_name, config, middleware)
        self._link = RedisLink(config)
        self._blocked_until = 0.0

    async def open(self) -> None:
        if self._link.is_open:
            return
        await self._link.open()
        try:
            await ensure_stream(self._link.connection, self.queue_name)
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
        stored = await self._add(queue, message)
        if not stored and queue == self.queue_name:
            logger.warning("stream %r is not there any more, and is made again: was it deleted?", queue)
            await ensure_stream(self._link.connection, queue)
            stored = await self._add(queue, message)
        if not stored:
            raise UnroutableError(f"the server has no stream {queue!r}; the message went nowhere")
        self._blocked_until = 0.0

    async def _add(self, queue: str, message: Message) -> bool:
        """False if there is no such stream."""
        connection = self._link.connection
        try:
            entry = await connection.call("XADD", queue, "NOMKSTREAM", "*", *to_fields(message), timeout=None)
        except BrokerUnavailableError as error:
            raise PublishError(f"{error}; the broker had not confirmed", may_have_landed=True) from error
        except redis.ResponseError as error:
            what = f"stream {queue!r}"
            if code(error) in AWAY:
                raise broker_error(error, what) from error
            refused = publish_error(error, what)
            if isinstance(refused, PublisherBlockedError):
                self._blocked_until = time.monotonic() + BLOCKED_FOR
            raise refused from error
        return entry is not None
