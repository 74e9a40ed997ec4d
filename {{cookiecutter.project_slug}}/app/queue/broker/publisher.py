# The template's: an update changes it. Which files are yours: README.md.
"""GuardedPublisher: what every provider's publisher does around the one thing that differs, sending."""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from app.queue.circuit_breaker import QueueCircuitBreaker
from app.queue.clock import chance
from app.queue.errors import (
    BrokerError,
    BrokerUnavailableError,
    MessageTooLargeError,
    PublisherBlockedError,
    PublishError,
)
from app.queue.interfaces import BreakerState, QueuePublisher
from app.queue.messages.body import Body, encode
from app.queue.messages.message import Message
from app.queue.middleware import PublishMiddleware, wrap_publishing
from app.queue.settings.queues import QueueConfig
from app.queue.time_limit import TimeLimit


class GuardedPublisher(QueuePublisher):
    """Middleware, then retry, then the circuit breaker, then the timeout, then `send()`.

    Only what surely was not sent is tried again here; the rest is the caller's decision, because it may have landed.
    A provider's `open()` calls `breaker.reset()` when it has connected anew: the broker is back.
    """

    def __init__(self, queue_name: str, config: QueueConfig, middleware: tuple[PublishMiddleware, ...] = ()) -> None:
        super().__init__(queue_name, config)
        self.breaker = QueueCircuitBreaker(config.circuit_breaker, f"publisher of {queue_name!r}")
        self._publish = wrap_publishing(middleware, self._guarded)
        self.limit = TimeLimit(config.publish_timeout)
        """Around every `send()`. A provider may end them all, if it learns that the broker takes nothing for now."""

    @abstractmethod
    async def send(self, queue: str, message: Message) -> None:
        """Return once the broker has `message` safely in `queue`.

        Raises BrokerUnavailableError if it surely was not sent, and PublishError otherwise.
        """

    async def close(self) -> None:
        """Nothing is open, unless a provider says so."""

    @property
    def breaker_state(self) -> BreakerState:
        return self.breaker.state

    async def publish_message(
        self,
        queue: str,
        body: Body,
        *,
        message_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        message = Message(encode(body), message_id or secrets.token_hex(16), headers or {})
        if len(message.body) > self.config.max_message_bytes:
            raise MessageTooLargeError(
                f"queue {queue!r}: the message has {len(message.body)} bytes, and max_message_bytes is "
                f"{self.config.max_message_bytes}",
                message_id=message.message_id,
            )
        try:
            await self._publish(queue, message)
        except PublishError as error:
            error.message_id = message.message_id
            raise
        except BrokerError as error:
            raise PublishError(f"queue {queue!r}: {error}", message_id=message.message_id) from error
        return message.message_id

    async def _guarded(self, queue: str, message: Message) -> None:
        due = asyncio.get_running_loop().time() + self.config.publish_timeout
        try:
            await self.breaker.call(self._timed, queue, message)
        except BrokerUnavailableError:
            await asyncio.sleep(chance.uniform(0.05, 0.2))  # to be out of step
            await self.breaker.call(self._timed, queue, message, due)

    async def _timed(self, queue: str, message: Message, due: float | None = None) -> None:
        """Send it; a second try has only what the first one has left of the time."""
        may_have_landed = False
        try:
            with self.limit:
                async with nullcontext() if due is None else asyncio.timeout_at(due):
                    await self.open()
                    may_have_landed = True
                    await self.send(queue, message)
        except TimeoutError:
            if may_have_landed and self.state == "blocked":
                raise PublisherBlockedError(
                    f"queue {queue!r}: the broker accepts no messages for now (memory or disk alarm); "
                    "it had not confirmed",
                    may_have_landed=True,
                ) from None
            what = "did not confirm" if may_have_landed else "could not be reached"
            raise PublishError(
                f"queue {queue!r}: the broker {what} within {self.config.publish_timeout:g} s",
                may_have_landed=may_have_landed,
            ) from None
