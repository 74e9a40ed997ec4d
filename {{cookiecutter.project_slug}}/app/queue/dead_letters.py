"""The passes over a dead-letter queue: what may succeed by now goes back to its queue, the rest is parked."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace

from app.queue.config import QueueConfig
from app.queue.errors import BrokerError
from app.queue.headers import dead_letter_reason, history, with_history, within_limits
from app.queue.interfaces import DeadLetterQueueHandler, Delivery, Message, Place, QueueProcessor
from app.queue.policy import RETRYABLE, Reason

logger = logging.getLogger(__name__)


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
            await asyncio.sleep(self._config.dlq.retry_interval * random.uniform(0.95, 1.05))  # noqa: S311
            try:
                await self.run_once()
            except BrokerError as error:
                logger.warning("%s: a pass over the DLQ ended early: %s", self._config.name, error)
            except Exception:
                logger.exception("%s: a pass over the DLQ failed", self._config.name)

    async def run_once(self) -> tuple[int, int]:
        """One pass over what is in the dead-letter queue now. Returns how many went back and how many were parked.

        Messages are taken one by one. A crash in between leaves a few in two places, and none in neither.
        """
        returned = parked = 0
        try:
            for _ in range(await self._dead_letters.depth()):
                delivery = await self._dead_letters.take()
                if delivery is None:
                    break
                if await self._move(delivery) is Place.QUEUE:
                    returned += 1
                else:
                    parked += 1
        finally:
            await self._dead_letters.close()
            await self._processor.close()
        if returned or parked:
            logger.info("%s: DLQ pass: %d sent back, %d parked", self._config.name, returned, parked)
        return returned, parked

    async def _move(self, delivery: Delivery) -> Place:
        message = delivery.message
        past = history(message)
        if self.may_succeed(message) and past.returns < self._config.dlq.max_retries:
            past = replace(past, attempts=0, crashes=0, returns=past.returns + 1)
            await self._processor.hand_over(delivery, with_history(message, past), Place.QUEUE)
            return Place.QUEUE
        logger.warning(
            "%s: message %s is parked: %s, sent back %d times",
            self._config.name,
            message.message_id,
            dead_letter_reason(message) or "no reason given",
            past.returns,
        )
        await self._processor.hand_over(delivery, within_limits(message), Place.PARKED)
        return Place.PARKED

    @staticmethod
    def may_succeed(message: Message) -> bool:
        """True unless what is wrong is in the message. One that somebody else put there gets its chance."""
        reason = dead_letter_reason(message)
        return not reason or reason not in set(Reason) or Reason(reason) in RETRYABLE
