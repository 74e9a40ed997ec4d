"""QueueWorker: the life of one queue's deliveries in this process, from the broker's hand to a settled end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import tenacity

from app.queue.config import QueueConfig
from app.queue.errors import AckLostError, BrokerError, DeliveryLostError
from app.queue.handling import DeliveryInfo, Reject, set_current_delivery
from app.queue.headers import describe, history, with_failure, with_history
from app.queue.interfaces import Delivery, Link, Place, QueueConsumer, QueueProcessor
from app.queue.middleware import HandleMiddleware, around_handling
from app.queue.pause import Pause
from app.queue.policy import (
    DONE,
    Action,
    InvalidMessageError,
    Outcome,
    Reason,
    decide,
    decide_redelivered,
)
from app.queue.processor import MessageProcessor
from app.queue.recall import Recall
from app.queue.time_limit import TimeLimit

logger = logging.getLogger(__name__)

RENEW_AFTER = 20.0
"""Seconds without a delivery."""
STOP_TIMEOUT = 1.0
"""Seconds in which a broker must answer that it sends nothing more."""


class QueueWorker(Link):
    """Consumes one queue: runs deliveries, settles them, drains. All of it on the event loop that opened it."""

    def __init__(
        self,
        config: QueueConfig,
        consumer: QueueConsumer,
        processor: QueueProcessor,
        dispatcher: MessageProcessor,
        middleware: Sequence[HandleMiddleware] = (),
    ) -> None:
        super().__init__(config.name, config)
        self.consumer = consumer
        self.pause = Pause(config.pause)
        self._processor = processor
        self._dispatcher = dispatcher
        self._middleware = middleware
        self._chain = around_handling(middleware, self._attempt)
        self._slots = asyncio.Semaphore(config.concurrency)
        self._in_hand: dict[Delivery, asyncio.Future[Outcome | None]] = {}
        self._left_hand = asyncio.Event()
        self._limit = TimeLimit(config.handler_timeout)
        self._recall = Recall(config.prefetch)
        self._probe: Delivery | None = None
        self._suspect_found = asyncio.Event()
        self._busy_at = time.monotonic()
        self.draining = False
        self.quiet_now = False
        consumer.on_delivery = self.handle

    @property
    def handler(self) -> object | None:
        """The queue's handler object."""
        return self._dispatcher.handler(self.queue_name)

    @property
    def consumes(self) -> bool:
        """True while deliveries can be run: the handler's context is open, the link is there, and nothing drains."""
        return not self.draining and (self.consumer.registered or self.quiet_now)

    async def open(self) -> None:
        if self.draining:
            await asyncio.Event().wait()  # for the supervisor's end: a drained worker never consumes again
        await self.consumer.open()
        self._suspect_found.set()
        if self.draining or self.quiet_now:
            await self.consumer.stop_intake()

    async def lost(self) -> str:
        why = await self.consumer.lost()
        await self._let_go()
        return why

    async def close(self) -> None:
        await asyncio.gather(self._let_go(), self._processor.close())

    async def renew(self) -> None:
        """Register the consumer anew if nothing came for a while: if the broker has forgotten it, nothing ever will."""
        if self._in_hand or not self.consumer.registered:
            self._busy_at = time.monotonic()
        elif time.monotonic() - self._busy_at > RENEW_AFTER:
            self._busy_at = time.monotonic()
            await self.consumer.renew()

    async def drain(self, timeout: float) -> None:
        """Take nothing more, put back what has not begun, and let the rest finish: for `timeout` seconds at most."""
        self.draining = True
        self.pause.wake()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self.consumer.stop_intake()
        except (BrokerError, TimeoutError):
            await self._let_go()  # nothing can be settled over a link that does not answer
        pending = {*self._in_hand.values(), *self._recall.running()}
        if pending:
            _, pending = await asyncio.wait(pending, timeout=timeout)
        for task in pending:
            logger.error("%s: still running after %g s of draining: %r", self.queue_name, timeout, task)
            task.cancel()

    async def handle(self, delivery: Delivery) -> Outcome | None:
        """Run one delivery to its end. Returns the outcome that is left to be settled, if the link broke before."""
        task = asyncio.current_task()
        assert task is not None
        task.set_name(f"{self.queue_name} message {delivery.message.message_id}")
        self._in_hand[delivery] = task
        try:
            outcome = None
            if delivery.redelivered:
                outcome = await self._redelivered(delivery)
            while outcome is None:
                if self.pause.active and not await self._probe_turn(delivery):
                    continue
                async with self._slots:
                    if delivery not in self._in_hand:
                        return None
                    if self.draining:
                        outcome = Outcome(Action.RETURN, history(delivery.message))
                    elif not self.pause.active or delivery is self._probe:
                        try:
                            outcome = await self._chain(delivery)
                        except BaseException as error:  # noqa: BLE001 - a middleware may raise anything
                            outcome = self._failure(delivery, error)
            return await self._settle(delivery, outcome)
        finally:
            self._leave_hand(delivery)

    async def _attempt(self, delivery: Delivery) -> Outcome:
        """Call the handler, and turn what it did into an outcome."""
        message = delivery.message
        past = history(message)
        set_current_delivery(DeliveryInfo(self.queue_name, message.message_id, past.attempts + 1, message.headers))
        try:
            if len(message.body) > self.config.max_message_bytes:
                raise InvalidMessageError(Reason.TOO_LARGE, f"the body has {len(message.body)} bytes")
            await self._dispatcher.process(self.queue_name, message.body, self._limit)
        except BaseException as error:  # noqa: BLE001 - a handler may raise anything
            return self._failure(delivery, error)
        if self.pause.succeeded():
            logger.warning("%s: a message was handled again; consuming goes on", self.queue_name)
        return DONE

    def _failure(self, delivery: Delivery, error: BaseException) -> Outcome:
        """The outcome of an error. Raises it if it is our own cancellation: the drain's deadline has come."""
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise error
        message = delivery.message
        probe = delivery is self._probe
        outcome = decide(error, history(message), self.config, probe=probe)
        what = f"{self.queue_name}: message {message.message_id}: {type(error).__name__}: {describe(error)[:500]}"
        # Where it went wrong is said at the first attempt, and again when it is given up.
        shown = None if isinstance(error, Reject | InvalidMessageError) else error
        if outcome.action is Action.RETRY:
            first = shown if outcome.past.attempts <= 1 else None
            logger.warning("%s (attempt %d, again in %g s)", what, outcome.past.attempts, outcome.delay, exc_info=first)
        elif outcome.action is Action.DEAD_LETTER:
            logger.error("%s (%s: to the DLQ)", what, outcome.reason, exc_info=shown)
        if outcome.reason in (None, Reason.EXHAUSTED) and self.pause.failed(message.message_id, probe=probe):
            logger.error(
                "%s: %d different messages failed in a row, so consuming pauses; one is tried now and then",
                self.queue_name,
                self.config.pause.after,
            )
        return outcome

    @asynccontextmanager
    async def quiet(self, timeout: float) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Take nothing inside, and begin when nothing is in hand, or after `timeout` seconds. Yields what ends it."""
        self.quiet_now = True

        async def resume() -> None:
            if self.quiet_now:
                self.quiet_now = False
                if not self.draining:
                    await self.consumer.start_intake()

        try:
            await self.consumer.stop_intake()
            # RabbitMQ takes back what was on its way when a consumer is cancelled, and marks it as redelivered.
            self._recall.expect(self.config.prefetch - len(self._in_hand))
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while self._in_hand and not self.draining:
                        self._left_hand.clear()
                        await self._left_hand.wait()
            yield resume
        finally:
            with suppress(BrokerError):
                await resume()

    async def found_suspect(self, timeout: float) -> None:
        """Return when this worker has found a suspect, or has connected, or after `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._suspect_found.wait()
        self._suspect_found.clear()

    async def _redelivered(self, delivery: Delivery) -> Outcome | None:
        """The outcome of a delivery that somebody did not settle, or None if it is to be run like any other."""
        earlier = self._recall.claim(delivery)
        if earlier is None:
            return await self._decided(delivery, decide_redelivered(history(delivery.message), self.config))
        await asyncio.wait([earlier])
        return None if earlier.cancelled() or earlier.exception() else earlier.result()

    async def _decided(self, delivery: Delivery, outcome: Outcome) -> Outcome:
        """An outcome without a handler call, seen by the middleware all the same."""

        async def decided(_: Delivery) -> Outcome:
            return outcome

        logger.warning(
            "%s: message %s was in hand when a consumer vanished (%d in a row): %s",
            self.queue_name,
            delivery.message.message_id,
            outcome.past.crashes,
            outcome.action,
        )
        try:
            return await around_handling(self._middleware, decided)(delivery)
        except Exception:
            logger.exception("%s: a middleware failed on a message that is not run", self.queue_name)
            return outcome

    async def _probe_turn(self, delivery: Delivery) -> bool:
        """Wait in a pause. True if it is over for this delivery: nothing pauses any more, or it is the probe."""
        if self.draining or delivery not in self._in_hand:
            return True
        if self.pause.begin_probe():
            self._probe = delivery
            return True
        await self.pause.wait()
        return False

    async def _let_go(self) -> None:
        """Close the link. What is in hand can't be settled any more; handlers that run go on running."""
        try:
            await self.consumer.close()
            await asyncio.sleep(0)  # let a delivery that came last get into our hand
        finally:
            self._recall.lost(self._in_hand)
            self._in_hand.clear()
            self._left_hand.set()
            self.pause.wake()

    def _leave_hand(self, delivery: Delivery) -> None:
        self._in_hand.pop(delivery, None)
        self._busy_at = time.monotonic()
        self._left_hand.set()
        if delivery is self._probe:
            self._probe = None
            self.pause.end_probe()

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> Outcome | None:
        """Settle a delivery, however long it takes. Returns what is left to be done if its link breaks before."""
        left: Outcome | None = None
        lives_on = outcome.action not in (Action.ACK, Action.DROP)
        if lives_on:
            self._recall.alive(delivery, outcome.past)
        # What comes back just as it was can't be told from this delivery, so neither may ever be called done.
        unchanged = lives_on and outcome.past == history(delivery.message)
        try:
            await self._settle_once(delivery, outcome)
        except AckLostError:
            left = DONE
        except DeliveryLostError:
            left = outcome
        except BrokerError as error:
            logger.warning("%s: message %s is held: %s", self.queue_name, delivery.message.message_id, error)
            left = await self._settle_later(delivery, outcome)
        except Exception:
            logger.exception("%s: message %s is held", self.queue_name, delivery.message.message_id)
            left = await self._settle_later(delivery, outcome)
        if unchanged and left is DONE:
            left = outcome
        if left is None:
            if not unchanged:
                self._recall.settled(delivery)
        elif delivery in self._in_hand:
            result: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
            result.set_result(left)
            self._recall.unsettled(delivery, result)
        return left

    async def _settle_later(self, delivery: Delivery, outcome: Outcome) -> Outcome | None:
        again = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_not_exception_type((AckLostError, DeliveryLostError, asyncio.CancelledError)),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2.0),
            reraise=True,
        )
        try:
            await again(self._settle_once, delivery, outcome)
        except AckLostError:
            return DONE
        except DeliveryLostError:
            return outcome
        return None

    async def _settle_once(self, delivery: Delivery, outcome: Outcome) -> None:
        message = delivery.message
        match outcome.action:
            case Action.ACK:
                await self._processor.ack(delivery)
            case Action.RETRY:
                message = with_history(message, outcome.past)
                await self._processor.hand_over(delivery, message, Place.RETRY, outcome.delay)
            case Action.RETURN:
                await self._processor.hand_over(delivery, with_history(message, outcome.past), Place.QUEUE)
            case Action.SUSPECT:
                await self._processor.hand_over(delivery, with_history(message, outcome.past), Place.SUSPECTS)
                self._suspect_found.set()
            case Action.DEAD_LETTER:
                assert outcome.reason is not None
                message = with_failure(
                    message, outcome.past, queue=self.queue_name, reason=outcome.reason, error=outcome.error
                )
                await self._processor.hand_over(delivery, message, Place.DLQ)
            case Action.DROP:
                logger.error(
                    "%s: message %s is dropped, for it can't be handled (%s) and the queue has no DLQ; error: %r; "
                    "headers: %r; body: %r",
                    self.queue_name,
                    message.message_id,
                    outcome.reason,
                    outcome.error,
                    message.headers,
                    message.body,
                    exc_info=outcome.error,
                )
                await self._processor.ack(delivery)
