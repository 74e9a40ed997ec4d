# The template's: an update changes it. Which files are yours: README.md.
"""Dead letters: the passes that send them back or park them, and what a person does with them.

A person counts them, looks at them, sends them back. All of that returns data, and whoever calls shows it: a command
line, an API. Each call needs parts that nobody else uses, and closes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.queue.clock import chance
from app.queue.errors import BrokerError
from app.queue.interfaces import DeadLetterQueueHandler, QueueProcessor
from app.queue.messages.encoding import content_encoding
from app.queue.messages.headers import FRESH, dead_letter_reason, history_of, with_history, within_limits
from app.queue.messages.message import Delivery, Message, Place
from app.queue.messages.outcome import Reason
from app.queue.policy import RETRYABLE
from app.queue.settings.queues import QueueConfig

logger = logging.getLogger(__name__)

MAX_STAY = 20  # messages that could not be moved, after which a pass ends: there may be nothing that takes any


class DeadLetterPasses:
    """Every `retry_interval` seconds, one pass over the dead-letter queue of one queue."""

    def __init__(self, config: QueueConfig, dead_letters: DeadLetterQueueHandler, processor: QueueProcessor) -> None:
        self._config = config
        self._dead_letters = dead_letters
        self._processor = processor

    async def run(self) -> None:
        """Make passes until cancelled. One that a broken link ends is made up for by the next."""
        while True:
            # Jitter, so that the instances of a service don't all go over the queue in the same second.
            await asyncio.sleep(self._config.dlq.retry_interval * chance.uniform(0.95, 1.05))
            try:
                await self.run_once()
            except BrokerError as error:
                logger.warning("%s: a pass over the DLQ ended early: %s", self._config.name, error)
            except Exception:
                logger.exception("%s: a pass over the DLQ failed", self._config.name)

    async def run_once(self) -> tuple[int, int]:
        """One pass over what is in the dead-letter queue now. Returns how many went back and how many were parked.

        Messages are received one by one. A crash in between leaves a few in two places, and none in neither.
        """
        returned = parked = stay = 0
        try:
            for _ in range(await self._dead_letters.depth()):
                delivery = await self._dead_letters.receive()
                if delivery is None:
                    break
                try:
                    place = await self._move(delivery)
                except BrokerError as error:  # the next one may go elsewhere
                    stay += 1
                    logger.warning("%s: message %s stays: %s", self._config.name, delivery.message.message_id, error)
                    if stay >= MAX_STAY:
                        raise
                else:
                    returned += place is Place.QUEUE
                    parked += place is Place.PARKED
        finally:
            await _closed(self._dead_letters, self._processor)
        if returned or parked:
            logger.info("%s: DLQ pass: %d sent back, %d parked", self._config.name, returned, parked)
        return returned, parked

    async def _move(self, delivery: Delivery) -> Place:
        message = delivery.message
        history = history_of(message)
        if _may_succeed(message) and history.replays < self._config.dlq.max_retries:
            history = replace(history, attempts=0, crashes=0, replays=history.replays + 1)
            await self._processor.move(delivery, with_history(message, history), Place.QUEUE)
            return Place.QUEUE
        await self._processor.move(delivery, within_limits(message), Place.PARKED)
        reason = dead_letter_reason(message) or "no reason given"
        logger.warning(
            "%s: message %s is parked: %s, sent back %d times",
            *(self._config.name, message.message_id, reason, history.replays),
        )
        return Place.PARKED


def _may_succeed(message: Message) -> bool:
    """True unless what is wrong is in the message. One that somebody else put there gets its chance."""
    reason = dead_letter_reason(message)
    return not reason or reason not in set(Reason) or Reason(reason) in RETRYABLE


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that lies in a dead-letter queue, or is parked; what is not known is ""."""

    place: Place
    id: str
    reason: str  # a `Reason`, or "" if this service did not put it there
    attempts: int | None  # handler calls that failed; None if that is not known
    first_failed_at: str  # ISO 8601
    last_failed_at: str
    error_type: str  # these three of the exception; "" if there was none
    error: str
    traceback: str
    body: bytes
    headers: Mapping[str, Any]
    content_encoding: str = ""  # what the body is compressed with, as the message itself says; "" if it says nothing


@dataclass(frozen=True, slots=True)
class Listing:
    """The first messages of a place."""

    place: Place
    depth: int  # how many messages lie there in all
    letters: tuple[DeadLetter, ...]  # the oldest first


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did."""

    place: Place  # from where
    sent: int  # how many messages went back to their queue
    error: BrokerError | None = None  # what ended it early. The rest lies where it was


async def count(reader: DeadLetterQueueHandler) -> int:
    """How many messages lie in the reader's place. Raises BrokerError."""
    try:
        return await reader.depth()
    finally:
        await reader.close()


async def peek(reader: DeadLetterQueueHandler, limit: int) -> Listing:
    """The first `limit` messages of the reader's place. Raises BrokerError.

    They are in flight meanwhile, and return to their place before this returns.
    """
    letters: list[DeadLetter] = []
    try:
        depth = await reader.depth()
        while len(letters) < min(depth, limit):
            delivery = await reader.receive()
            if delivery is None:
                break
            letters.append(dead_letter(delivery.message, reader.place))
    finally:
        await reader.close()
    return Listing(reader.place, depth, tuple(letters))


async def replay(reader: DeadLetterQueueHandler, processor: QueueProcessor, limit: int | None = None) -> Replayed:
    """Send what lies in the reader's place now back to its queue, with fresh attempts: `limit` messages at most.

    The oldest go first, one after the other. A crash in between leaves one in two places, and none in neither.
    """
    sent = 0
    try:
        depth = await reader.depth()
        while sent < (depth if limit is None else min(depth, limit)):
            delivery = await reader.receive()
            if delivery is None:
                break
            await processor.move(delivery, with_history(delivery.message, FRESH), Place.QUEUE)
            sent += 1
    except BrokerError as error:
        return Replayed(reader.place, sent, error)
    finally:
        await _closed(reader, processor)
    return Replayed(reader.place, sent)


async def _closed(reader: DeadLetterQueueHandler, processor: QueueProcessor) -> None:
    try:
        await reader.close()
    finally:
        await processor.close()


def dead_letter(message: Message, place: Place) -> DeadLetter:
    """A message's failure, read from its headers: what is in them came from anywhere."""
    headers = message.headers
    attempts = headers.get("dlq-attempts")
    return DeadLetter(
        place=place,
        id=message.message_id,
        reason=dead_letter_reason(message),
        attempts=attempts if type(attempts) is int else None,
        first_failed_at=_text(headers.get("dlq-first-failed-at")),
        last_failed_at=_text(headers.get("dlq-last-failed-at")),
        error_type=_text(headers.get("dlq-exception-type")),
        error=_text(headers.get("dlq-exception-message")),
        traceback=_text(headers.get("dlq-traceback")),
        body=message.body,
        headers=headers,
        content_encoding=content_encoding(message),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
