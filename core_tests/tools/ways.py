"""Every way in which a message is moved on, each by the code that does so in a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from app.queue.config import QueueConfig
from app.queue.dead_letters import DeadLetterPasses, replay
from app.queue.interfaces import Message, Place
from app.queue.messages.headers import FRESH, History, with_failure, with_history
from app.queue.messages.outcome import Reason
from app.queue.setup import get_dead_letters, get_processor

DELAY = 0.1
"""Seconds of a retry: there must be a place for it."""


@dataclass(frozen=True, slots=True)
class Way:
    """From `source` to `target`. `headers`: what a message in `source` has so that it goes this way."""

    name: str
    source: Place
    target: Place
    go: Callable[[QueueConfig], Awaitable[None]]
    headers: tuple[tuple[str, Any], ...] = ()


async def moved(config: QueueConfig, target: Place, change: Callable[[Message], Message]) -> None:
    """Take the message that is in the queue, and move it."""
    reader, processor = get_dead_letters(config, Place.QUEUE), get_processor(config)
    try:
        delivery = await reader.receive()
        assert delivery is not None, "the queue is empty"
        await processor.move(delivery, change(delivery.message), target, DELAY if target is Place.RETRY else 0.0)
    finally:
        await reader.close()
        await processor.close()


def _failed(message: Message) -> Message:
    return with_failure(message, History(attempts=2), queue="q", reason=Reason.EXHAUSTED, error=RuntimeError("no"))


async def _retry(config: QueueConfig) -> None:
    await moved(config, Place.RETRY, lambda message: with_history(message, History(attempts=1)))


async def _requeue(config: QueueConfig) -> None:
    await moved(config, Place.QUEUE, lambda message: with_history(message, FRESH))


async def _dead_letter(config: QueueConfig) -> None:
    await moved(config, Place.DLQ, _failed)


async def _quarantine(config: QueueConfig) -> None:
    await moved(config, Place.QUARANTINE, lambda message: with_history(message, History(crashes=1)))


async def _pass(config: QueueConfig) -> None:
    assert sum(await DeadLetterPasses(config, get_dead_letters(config), get_processor(config)).run_once()) == 1


async def _replay(config: QueueConfig) -> None:
    assert (await replay(get_dead_letters(config), get_processor(config))).sent == 1


WAYS = (
    Way("retry", Place.QUEUE, Place.RETRY, _retry),
    Way("requeue", Place.QUEUE, Place.QUEUE, _requeue),
    Way("DLQ", Place.QUEUE, Place.DLQ, _dead_letter),
    Way("quarantine", Place.QUEUE, Place.QUARANTINE, _quarantine),
    Way("return", Place.DLQ, Place.QUEUE, _pass, (("dlq-reason", "exhausted"),)),
    Way("park", Place.DLQ, Place.PARKED, _pass, (("dlq-reason", "not_json"),)),
    Way("replay", Place.DLQ, Place.QUEUE, _replay),
)
every_way = pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in WAYS])
