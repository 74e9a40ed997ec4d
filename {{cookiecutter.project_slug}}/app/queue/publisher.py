"""GuardedPublisher: what every provider's publisher does around the one thing that differs, sending."""

from __future__ import annotations

import asyncio
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import tenacity
from pydantic import BaseModel

from app.queue.circuit_breaker import QueueCircuitBreaker
from app.queue.config import QueueConfig
from app.queue.errors import BrokerError, BrokerUnavailableError, MessageTooLargeError, PublishError
from app.queue.interfaces import Body, BreakerState, Message, QueuePublisher
from app.queue.metrics import count_publishing
from app.queue.middleware import PublishMiddleware, around_publishing
from app.queue.processor import encode_json


class GuardedPublisher(QueuePublisher):
    """Middleware, then retry, then the circuit breaker, then the timeout, then `send()`.

    Only what surely was not sent is tried again here; the rest is the caller's decision, because it may have landed.
    """

    def __init__(self, queue_name: str, config: QueueConfig, middleware: tuple[PublishMiddleware, ...] = ()) -> None:
        super().__init__(queue_name, config)
        self.breaker = QueueCircuitBreaker(config.circuit_breaker, f"publisher of {queue_name!r}")
        self._publish = around_publishing((count_publishing, *middleware), self._guarded)
        self._retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(BrokerUnavailableError),
            stop=tenacity.stop_after_attempt(2),
            wait=tenacity.wait_random(0.05, 0.2),
            reraise=True,
        )

    @abstractmethod
    async def send(self, queue: str, message: Message) -> None:
        """Return once the broker has `message` safely in `queue`.

        Raises BrokerUnavailableError if it surely was not sent, and PublishError otherwise.
        """

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
        message = Message(encode(body), message_id or uuid.uuid4().hex, headers or {})
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
        await self._retrying(self.breaker.call, self._timed, queue, message)

    async def _timed(self, queue: str, message: Message) -> None:
        may_have_landed = False
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await self.open()
                may_have_landed = True
                await self.send(queue, message)
        except TimeoutError:
            what = "did not confirm" if may_have_landed else "could not be reached"
            raise PublishError(
                f"queue {queue!r}: the broker {what} within {self.config.publish_timeout:g} s",
                may_have_landed=may_have_landed,
            ) from None


def encode(body: Body) -> bytes:
    """The bytes of a body. Text and bytes are taken as they are."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, BaseModel):
        return body.model_dump_json(by_alias=True).encode()
    return encode_json(body)
