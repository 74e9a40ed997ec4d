# The template's: an update changes it. Which files are yours: README.md.
"""One attempt: the middleware, the handler in their midst, and the outcome of both."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

from app.queue.consume.deadlines import Deadlines
from app.queue.consume.in_flight import Record
from app.queue.consume.pause import Pause
from app.queue.foreign_code import ends_task
from app.queue.handling import DeliveryInfo, Reject, set_current_delivery
from app.queue.instrumentation.events import ConsumingPaused, ConsumingResumed, emit
from app.queue.messages.encoding import readable_body
from app.queue.messages.headers import describe, history_in_queue
from app.queue.messages.message import Delivery, Message
from app.queue.messages.outcome import DONE, Action, InvalidMessageError, Outcome, Reason
from app.queue.middleware import HandleMiddleware, wrap_handling
from app.queue.policy import decide
from app.queue.processor import MessageProcessor
from app.queue.settings.queues import QueueConfig

logger = logging.getLogger(__name__)

_running: ContextVar[Record] = ContextVar("running")  # what the task runs; a middleware may pass on another delivery


class Attempt:
    """Runs deliveries of one queue, and decides what becomes of them. Nothing that a handler raises gets out."""

    def __init__(
        self,
        config: QueueConfig,
        dispatcher: MessageProcessor,
        middleware: Sequence[HandleMiddleware],
        pause: Pause,
        deadlines: Deadlines,
    ) -> None:
        self._config = config
        self._queue = config.name
        self._dispatcher = dispatcher
        self._middleware = middleware
        self._chain = wrap_handling(middleware, self._call_handler)
        self._pause = pause
        self._deadlines = deadlines

    async def run(self, record: Record) -> Outcome:
        """Call the handler, with the middleware around it. Raises nothing but the end of its own task."""
        _running.set(record)
        try:
            outcome = await self._chain(record.delivery)
        except BaseException as error:  # noqa: BLE001 - a middleware may raise anything
            outcome = self._failed(record, record.delivery.message, error)
        self._tell_pause(record, outcome)
        return outcome

    def cancelled(self, record: Record, error: BaseException) -> Outcome:
        """The outcome of a handler that cancelled its own task."""
        outcome = self._decided(record, record.delivery.message, error)
        self._tell_pause(record, outcome)
        return outcome

    async def not_run(self, record: Record, outcome: Outcome) -> Outcome:
        """What is decided without a handler call is seen by the middleware all the same."""

        async def decided(_: Delivery) -> Outcome:
            return outcome

        try:
            return await wrap_handling(self._middleware, decided)(record.delivery)
        except BaseException as error:
            if ends_task(error):
                raise
            logger.exception("%s: a middleware failed on a message that is not run", self._queue)
            return outcome

    async def _call_handler(self, delivery: Delivery) -> Outcome:
        """The innermost of the chain. `delivery` is another than the record's if a middleware passed on another."""
        message, record = delivery.message, _running.get()
        history = record.history if delivery is record.delivery else history_in_queue(message)
        set_current_delivery(DeliveryInfo(self._queue, message.message_id, history.attempts + 1, message.headers))
        try:
            body = readable_body(message, self._config.max_message_bytes)
            await self._dispatcher.process(self._queue, body, self._deadlines.run)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything
            return self._failed(record, message, error)
        return DONE

    def _failed(self, record: Record, message: Message, error: BaseException) -> Outcome:
        """The outcome of an error. Raises it if it is our own cancellation: the drain's deadline has come."""
        if ends_task(error):
            raise error
        return self._decided(record, message, error)

    def _decided(self, record: Record, message: Message, error: BaseException) -> Outcome:
        outcome = decide(error, history_in_queue(message), self._config, counts=not record.in_pause)
        self._report(message, outcome, error)
        return outcome

    def _tell_pause(self, record: Record, outcome: Outcome) -> None:
        """What comes out of the middleware counts: their world may be down as well as the handler's."""
        if outcome.action is Action.ACK:
            if self._pause.succeeded():
                logger.warning("%s: a message was handled again; consuming goes on", self._queue)
                emit(ConsumingResumed(self._queue))
        elif outcome.reason in (None, Reason.EXHAUSTED) and self._pause.failed(record.delivery.message.message_id):
            logger.error(
                "%s: %d different messages failed in a row, so consuming pauses: what has failed before is tried one "
                "at a time, now and then, until a message is handled again",
                self._queue,
                self._config.pause.after,
            )
            emit(ConsumingPaused(self._queue, self._config.pause.after))

    def _report(self, message: Message, outcome: Outcome, error: BaseException) -> None:
        what = f"{self._queue}: message {message.message_id}: {type(error).__name__}: {describe(error)[:500]}"
        # Where it went wrong is said at the first attempt, and again when it is given up.
        shown = None if isinstance(error, Reject | InvalidMessageError) else error
        if outcome.action is Action.RETRY:
            attempt = outcome.history.attempts
            first = shown if attempt <= 1 else None
            logger.warning("%s (attempt %d, again in %g s)", what, attempt, outcome.delay, exc_info=first)
        elif outcome.action is Action.DEAD_LETTER:
            logger.error("%s (%s: to the DLQ)", what, outcome.reason, exc_info=shown)
