"""QueueWorker: the life of one queue's deliveries in this process, from the broker's hand to a settled end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

import tenacity

from app.queue.config import QueueConfig
from app.queue.errors import AckLostError, BrokerError
from app.queue.handling import DeliveryInfo, set_current_delivery
from app.queue.headers import CRASHES, describe, history, with_failure, with_history
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

logger = logging.getLogger(__name__)

STOP_TIMEOUT = 2.0
"""Seconds in which a broker must answer that it sends nothing more."""
ROOM_TIMEOUT = 10.0
"""Seconds that a message which has to run alone waits for the others to finish; then it comes again later."""


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
        self._in_hand: dict[Delivery, asyncio.Task[Outcome | None]] = {}
        self._left_hand = asyncio.Event()
        self._recall = Recall(config.prefetch)
        self._probe: Delivery | None = None
        self._suspect: Delivery | None = None
        self._careful = False
        self._draining = False
        consumer.on_delivery = self.handle

    @property
    def running_alone(self) -> bool:
        """True while intake stands still on purpose, for a message that may have killed a process."""
        return self._suspect is not None

    @property
    def handler(self) -> object | None:
        """The queue's handler object."""
        return self._dispatcher.handler(self.queue_name)

    async def open(self) -> None:
        if self._draining:
            await asyncio.Event().wait()  # for the supervisor's end: a drained worker never consumes again
        await self.consumer.open()
        if self._draining:
            await self.consumer.stop_intake()

    async def lost(self) -> str:
        why = await self.consumer.lost()
        await self._let_go()
        return why

    async def close(self) -> None:
        await self._let_go()
        await self._processor.close()

    async def drain(self, timeout: float) -> None:
        """Take nothing more, put back what has not begun, and let the rest finish: for `timeout` seconds at most."""
        self._draining = True
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
            logger.error("%s: still running after %.0f s of draining: %s", self.queue_name, timeout, task.get_name())
            task.cancel()

    async def handle(self, delivery: Delivery) -> Outcome | None:
        """Run one delivery to its end. Returns the outcome that is left to be settled, if the link broke before."""
        task = asyncio.current_task()
        assert task is not None
        task.set_name(f"{self.queue_name} message {delivery.message.message_id}")
        self._in_hand[delivery] = task
        try:
            outcome = None
            if delivery.redelivered or self._careful or CRASHES in delivery.message.headers:
                outcome = await self._with_care(delivery)
            while outcome is None:
                if self.pause.active and not await self._probe_turn(delivery):
                    continue
                async with self._slots:
                    if delivery not in self._in_hand:
                        return None
                    if self._draining:
                        outcome = Outcome(Action.RETURN, history(delivery.message))
                    elif not self.pause.active or delivery is self._probe:
                        try:
                            outcome = await self._chain(delivery)
                        except BaseException as error:  # noqa: BLE001 - a middleware may raise anything
                            outcome = self._failure(delivery, error)
            return await self._settle(delivery, outcome)
        finally:
            await self._leave_hand(delivery)

    async def _attempt(self, delivery: Delivery) -> Outcome:
        """Call the handler, and turn what it did into an outcome."""
        message = delivery.message
        past = history(message)
        set_current_delivery(DeliveryInfo(self.queue_name, message.message_id, past.attempts + 1, message.headers))
        try:
            if len(message.body) > self.config.max_message_bytes:
                raise InvalidMessageError(Reason.TOO_LARGE, f"the body has {len(message.body)} bytes")
            await self._dispatcher.process(self.queue_name, message.body, self.config.handler_timeout)
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
        if outcome.action is Action.RETRY:
            logger.warning("%s (attempt %d, again in %g s)", what, outcome.past.attempts, outcome.delay)
        elif outcome.action is Action.DEAD_LETTER:
            logger.error("%s (%s: to the DLQ)", what, outcome.reason)
        if outcome.reason in (None, Reason.EXHAUSTED) and self.pause.failed(message.message_id, probe=probe):
            logger.error(
                "%s: %d different messages failed in a row, so consuming pauses; one is tried now and then",
                self.queue_name,
                self.config.pause.after,
            )
        return outcome

    async def _with_care(self, delivery: Delivery) -> Outcome | None:
        """The outcome of a delivery that somebody did not settle, or None if it is to be run like any other."""
        if delivery.redelivered:
            earlier = self._recall.claim(delivery)
            if earlier is None:
                return await self._decided(delivery, decide_redelivered(history(delivery.message), self.config))
            await asyncio.wait([earlier])
            outcome = None if earlier.cancelled() or earlier.exception() else earlier.result()
            if outcome is not None:
                return outcome
        if history(delivery.message).crashes:
            return await self._make_room(delivery)
        if self._careful:
            self._careful = False
            await self._take_up_to(self.config.prefetch)
        return None

    async def _make_room(self, delivery: Delivery) -> Outcome | None:
        """See to it that a message which may kill the process has nothing else in hand beside it.

        What is in hand when a process dies is suspected, so nothing innocent may be. After the first such message, one
        at a time is taken, until one comes that is not suspected.
        """
        past = history(delivery.message)
        if self._suspect is not None or self._draining:
            return Outcome(Action.RETURN, past)
        self._suspect = delivery
        try:
            if not self._careful:
                self._careful = True
                await self.consumer.stop_intake()
            async with asyncio.timeout(ROOM_TIMEOUT):
                while delivery in self._in_hand and len(self._in_hand) > 1:
                    self._left_hand.clear()
                    await self._left_hand.wait()
        except TimeoutError:
            return Outcome(Action.RETRY, past, delay=self.config.retry.delays()[-1])
        except BrokerError:
            pass  # the link broke; the delivery is lost to us, and will come again
        return None

    async def _take_up_to(self, limit: int) -> None:
        if not self._draining:
            with suppress(BrokerError):
                await self.consumer.start_intake(limit)

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
        if self._draining or delivery not in self._in_hand:
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
            self._recall.remember(self._in_hand)
            self._in_hand.clear()
            self._suspect = None
            self._careful = False
            self._left_hand.set()
            self.pause.wake()

    async def _leave_hand(self, delivery: Delivery) -> None:
        self._in_hand.pop(delivery, None)
        self._left_hand.set()
        if delivery is self._probe:
            self._probe = None
            self.pause.end_probe()
        if delivery is self._suspect:
            self._suspect = None
            if not self.consumer.registered:
                await self._take_up_to(1)

    async def _settle(self, delivery: Delivery, outcome: Outcome) -> Outcome | None:
        """Settle a delivery, however long it takes. Returns what is left to be done if its link breaks before."""
        try:
            await self._settle_once(delivery, outcome)
        except AckLostError:
            return DONE
        except BrokerError as error:
            logger.warning("%s: message %s is held: %s", self.queue_name, delivery.message.message_id, error)
        except Exception:
            logger.exception("%s: message %s is held", self.queue_name, delivery.message.message_id)
        else:
            return None
        again = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(
                lambda error: not isinstance(error, AckLostError) and delivery in self._in_hand
            ),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=2.0),
            reraise=True,
        )
        try:
            await again(self._settle_once, delivery, outcome)
        except AckLostError:
            return DONE
        except Exception:  # noqa: BLE001 - said above
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
                )
                await self._processor.ack(delivery)
