# The template's: an update changes it. Which files are yours: README.md.
"""Settlement: what was decided of a delivery is done at the broker, however long that takes."""

from __future__ import annotations

import logging
from contextlib import suppress

from app.queue.consume.deadlines import Deadlines
from app.queue.consume.held import Held
from app.queue.consume.in_flight import Record
from app.queue.consume.redeliveries import Redeliveries
from app.queue.errors import AckLostError, DeliveryLostError, MessageTooLargeError
from app.queue.instrumentation.events import MessageDropped, emit
from app.queue.interfaces import QueueProcessor
from app.queue.messages.headers import describe, with_failure, with_history
from app.queue.messages.message import Delivery, Message, Place
from app.queue.messages.outcome import DONE, Action, Outcome, Reason
from app.queue.policy import put_back
from app.queue.settings.queues import QueueConfig

logger = logging.getLogger(__name__)

ACK = Action.ACK  # asked for with every message, and Python 3.11 takes long to look a member up
FAILED = (Action.RETRY, Action.DEAD_LETTER)
PLACES = {
    Action.RETRY: Place.RETRY,
    Action.REQUEUE: Place.QUEUE,
    Action.QUARANTINE: Place.QUARANTINE,
    Action.DEAD_LETTER: Place.DLQ,
}


class Settlement:
    """Settles the deliveries of one queue."""

    def __init__(
        self,
        config: QueueConfig,
        processor: QueueProcessor,
        redeliveries: Redeliveries,
        held: Held,
        deadlines: Deadlines,
    ) -> None:
        self._config = config
        self._queue = config.name
        self._processor = processor
        self._redeliveries = redeliveries
        self._held = held
        self._deadlines = deadlines
        self._draining = False

    async def settle(self, record: Record, outcome: Outcome) -> Outcome | None:
        """Try until it is settled, or can't be any more: then return what is left to be done when it comes again."""
        tries = 0
        try:
            while True:
                try:
                    await self._settle(record, outcome)
                except AckLostError:
                    # What comes from the quarantine is known by what was left here, and it is not done.
                    return None if outcome.action is Action.QUARANTINE else self._left(record, DONE)
                except DeliveryLostError:
                    return self._left(record, outcome)
                except Exception as error:  # noqa: BLE001 - reported; a delivery must never be forgotten
                    tries += 1
                    self._held.mover = self._processor.state
                    await self._held.hold(record, error)
                    if self._draining and outcome.action is not Action.RETRY:
                        return outcome  # it goes back with the link
                    if self._draining or (outcome.action in FAILED and self._deadlines.is_late(record)):
                        outcome = put_back(outcome.history)  # its queue may still take it
                    if not self._draining:
                        await self._held.wait(tries)
                else:
                    return None
        finally:
            if tries:
                await self._held.release(record)

    def drain(self) -> None:
        """Try each once more, then to put back to its queue what is to be retried, and leave the rest to the broker."""
        self._draining = True
        self._held.try_again()

    async def _settle(self, record: Record, outcome: Outcome) -> None:
        if outcome.action is ACK:
            await self._processor.ack(record.delivery)
            self._redeliveries.acked(record)
            return
        try:
            await self._move(record.delivery, outcome)
        except MessageTooLargeError as error:
            await self._give_up(record.delivery, error)

    async def _give_up(self, delivery: Delivery, error: MessageTooLargeError) -> None:
        """It fits nowhere with headers of ours: park it as bare as it can be, or log it whole and drop it."""
        message = delivery.message
        if self._config.enable_dlq:
            bare = Message(message.body, message.message_id, content_encoding=message.content_encoding)
            logger.error(
                "%s: message %s is to be parked without its headers, for it is too large to be moved with them: %s; "
                "headers: %r",
                *(self._queue, message.message_id, error, message.headers),
            )
            with suppress(MessageTooLargeError):
                await self._processor.move(delivery, bare, Place.PARKED)
                return
        await self._drop(delivery, Outcome(Action.DROP, reason=Reason.TOO_LARGE, error=error), "it fits nowhere")
        emit(MessageDropped(self._queue, message.message_id, Reason.TOO_LARGE))

    async def _move(self, delivery: Delivery, outcome: Outcome) -> None:
        if outcome.action is Action.DROP or (outcome.action is Action.DEAD_LETTER and not self._config.enable_dlq):
            await self._drop(delivery, outcome, "the queue has no DLQ")
            return
        message = self._moved(delivery.message, outcome)
        delay = outcome.delay if outcome.action is Action.RETRY else 0.0
        await self._processor.move(delivery, message, PLACES[outcome.action], delay)

    def _moved(self, message: Message, outcome: Outcome) -> Message:
        if outcome.action is not Action.DEAD_LETTER:
            return with_history(message, outcome.history)
        assert outcome.reason is not None
        return with_failure(message, outcome.history, queue=self._queue, reason=outcome.reason, error=outcome.error)

    def _left(self, record: Record, left: Outcome) -> Outcome:
        if not record.lost:  # else it is known already that the record's task will tell
            self._redeliveries.unsettled(record, left)
        return left

    async def _drop(self, delivery: Delivery, outcome: Outcome, why: str) -> None:
        """Ack it, and log it whole: after that, or it would be logged whole at each try."""
        await self._processor.ack(delivery)
        message, error = delivery.message, outcome.error
        logger.error(
            "%s: message %s is dropped, for it can't be handled (%s) and %s; error: %s; headers: %r; body: %r",
            *(self._queue, message.message_id, outcome.reason, why),
            *(error and f"{type(error).__name__}: {describe(error)}", message.headers, message.body),
            exc_info=error,
        )
