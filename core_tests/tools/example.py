"""The seed's handler, with a memory, and the pieces to run it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

from pydantic import BaseModel

from app.queue.config import QueueConfig, QueuesConfig
from app.queue.handling import Reject, current_delivery
from app.queue.processor import MessageProcessor
from app.queue.providers import find_provider
from app.queue.run.service import QueueService
from app.queue.setup import build_service
from core_tests.tools.waiting import eventually

AUDIO = b'{"type": "send_audio", "user_id": 123, "content": "audio_data"}'
"""A message that it takes, as it travels."""


class SendAudioMessage(BaseModel):
    """The seed's message."""

    type: Literal["send_audio"] = "send_audio"
    user_id: int
    content: str


class UserHandler:
    """Remembers what it handled. `behaviour` is called first, and may raise."""

    def __init__(self, behaviour: Callable[[SendAudioMessage], Any] | None = None) -> None:
        self._behaviour = behaviour
        self.handled: list[SendAudioMessage] = []
        self.attempts: list[tuple[str, int]] = []

    async def send_audio(self, message: SendAudioMessage) -> None:
        """The seed's method."""
        info = current_delivery()
        self.attempts.append((info.message_id, info.attempt))
        if self._behaviour is not None:
            result = self._behaviour(message)
            if asyncio.iscoroutine(result):
                await result
        self.handled.append(message)


def audio(user_id: int = 123, content: str = "audio_data") -> dict[str, Any]:
    """The seed's message, as a dict."""
    return {"type": "send_audio", "user_id": user_id, "content": content}


def queue_config(name: str = "user_channel", kind: str = "memory", **keys: Any) -> QueueConfig:
    """A queue with short delays, which `keys` may override."""
    defaults: dict[str, Any] = {
        "retry": {"max_attempts": 3, "initial_delay": 0.1, "multiplier": 2},
        "dlq": {"retry_interval": 0},
    }
    return find_provider(kind).config.model_validate({"name": name, "type": kind, **defaults, **keys})


@asynccontextmanager
async def running(*queues: tuple[QueueConfig, Any], **keys: Any) -> AsyncIterator[QueueService]:
    """A whole service for these queues and their handlers, in this process; waits until it is ready."""
    dispatcher = MessageProcessor()
    for queue, handler in queues:
        if handler is not None:
            dispatcher.register_handler(queue.name, handler)
    defaults = {"queues": [queue for queue, _ in queues], "drain": {"delay": 0, "timeout": 5}}
    config = QueuesConfig.model_validate({**defaults, **keys})
    service = build_service(config, dispatcher)
    await service.start()
    try:
        await eventually(lambda: service.readiness() == "ready", "the service is ready")
        yield service
    finally:
        await service.stop()


__all__ = ["Reject", "SendAudioMessage", "UserHandler", "audio", "queue_config", "running"]


def registered(handler: object, queue: str = "q") -> MessageProcessor:
    """A processor with this one handler."""
    processor = MessageProcessor()
    processor.register_handler(queue, handler)
    return processor
