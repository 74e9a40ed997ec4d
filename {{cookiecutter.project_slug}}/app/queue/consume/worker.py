# The template's: an update changes it. Which files are yours: README.md.
"""QueueWorker: the way of one queue's deliveries in this process, from the broker to a settled end.

consumer ─> handle() ─> attempt.py ─> processor.py ─> the handler's method
               └──────> settlement.py ─> the provider's QueueProcessor
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from app.queue.clock import now
from app.queue.consume.admission import Admission
from app.queue.consume.attempt import Attempt
from app.queue.consume.deadlines import Deadlines
from app.queue.consume.held import Held
from app.queue.consume.in_flight import InFlight, Record
from app.queue.consume.intake import HoldBack, Intake
from app.queue.consume.pause import Pause
from app.queue.consume.redeliveries import Redeliveries
from app.queue.consume.settlement import Settlement
from app.queue.errors import BrokerError
from app.queue.instrumentation.events import DrainEnded, DrainStarted, emit
from app.queue.interfaces import Claims, Link, QueueConsumer, QueueProcessor
from app.queue.messages.message import Arrival, Delivery
from app.queue.messages.outcome import Action, Outcome
from app.queue.middleware import HandleMiddleware
from app.queue.policy import SUSPECT_FROM, decide_abandoned, decide_condemned, put_aside, put_back
from app.queue.processor import MessageProcessor
from app.queue.settings.queues import QueueConfig
from app.queue.time_limit import until

logger = logging.getLogger(__name__)

NEW = Arrival.NEW  # asked for with every message, and Python 3.11 takes long to look a member up
LOOK_FOR_HELD = 0.5  # seconds
STOP_TIMEOUT = 1.0  # seconds in which a broker must answer that it sends nothing more


class QueueWorker(Link):
    """Consumes one queue: runs deliveries, settles them, drains. All of it on the event loop that opened it."""

    def __init__(
        self,
        config: QueueConfig,
        consumer: QueueConsumer,
        processor: QueueProcessor,
        dispatcher: MessageProcessor,
        claims: Claims,
        middleware: Sequence[HandleMiddleware] = (),
    ) -> None:
        super().__init__(config.name, config)
        self.consumer = consumer
        self.in_flight = InFlight()
        self.intake = Intake(consumer)
        self.pause = Pause(config.pause)
        self._claims = claims
        self._processor = processor
        self._dispatcher = dispatcher
        self._redeliveries = Redeliveries(
            config.prefetch, config.redelivered_within, held=config.held.messages, confirms_acks=claims.confirms_acks
        )
        self._admission = Admission(config.concurrency, self.pause, self._is_full)
        self._deadlines = Deadlines(config)
        self._attempt = Attempt(config, dispatcher, middleware, self.pause, self._deadlines)
        self.held = Held(config.name, config.held, self.intake)
        self._settlement = Settlement(config, processor, self._redeliveries, self.held, self._deadlines)
        self._quarantine_filled = asyncio.Event()
        consumer.on_delivery = self.handle

    # --- the way of a delivery

    async def handle(self, delivery: Delivery, link: object = None, outcome: Outcome | None = None) -> Outcome | None:
        """Run one delivery to its end: of the consumer, or of a reader that is given as `link`.

        If there is an `outcome` already, it is not run. Returns the outcome that is left to be settled, if the link
        broke before.
        """
        record = self.in_flight.add(delivery, link or self.consumer)
        is_known = outcome is not None  # to the quarantine, which has put it back itself
        try:
            if outcome is None and (delivery.arrival is not NEW or record.history.crashes):
                outcome = await self._again(record)
            if outcome is None:
                outcome = await self._run(record)
            return None if outcome is None else await self._settlement.settle(record, outcome)
        finally:
            self.in_flight.remove(record)
            if outcome is not None and outcome.action is Action.QUARANTINE and not is_known:
                self.look_into_quarantine()

    async def _run(self, record: Record) -> Outcome | None:
        """The outcome of the handler, when its turn has come. None if the link was lost before that."""
        admission = self._admission
        try:
            if admission.at_once:
                await admission.slots.acquire()
            else:
                with self._deadlines.wait:
                    if not await admission.admit(record):
                        return put_aside(record.history, self.config)
            try:
                if record.lost:
                    return None
                if admission.draining:
                    return put_back(record.history)
                record.in_pause = self.pause.active
                return await self._attempted(record)
            finally:
                admission.slots.release()
        except TimeoutError:  # of the wait; what a handler raises does not come here
            return None if record.lost else self._give_back(record, "its turn")
        finally:
            if record.probe:
                self.pause.end_probe()

    async def _attempted(self, record: Record) -> Outcome:
        """The outcome of one attempt. Raises CancelledError if the drain's time is up."""
        try:
            outcome = await self._attempt.run(record)
            if record.task.cancelling():
                await asyncio.sleep(0)  # a cancellation that is still to come, comes here
        except asyncio.CancelledError as error:
            if self._admission.draining:
                raise
            record.task.uncancel()
            return self._attempt.cancelled(record, error)  # nobody but the handler itself has cancelled it
        return outcome

    async def _again(self, record: Record) -> Outcome | None:
        """The outcome of a delivery that came before. None if it is to be run like any other."""
        twin = None
        if (earlier := self._redeliveries.recall(record)) is None and (twin := self.in_flight.twin(record)):
            earlier = twin.task
        if earlier is not None:
            await asyncio.wait([earlier], timeout=self._deadlines.hold)
            if not earlier.done():
                self._redeliveries.given_back(record, earlier)
                return self._give_back(record, "an earlier run of it")
            left = None if earlier.cancelled() or earlier.exception() else earlier.result()
            if left is None and not self._deadlines.can_begin(record):
                return self._give_back(record, "an earlier run of it")
            if left is None and twin is not None and not twin.lost:
                return await self._again(record)  # that one is settled: this is a copy of it, or the ack was lost
            return left
        if (condemned := decide_condemned(record.history, self.config)) is not None:
            return await self._attempt.not_run(record, condemned)
        if record.delivery.arrival is NEW:
            return None
        # A guess is not made of a message that was abandoned before: somebody has died of it, perhaps.
        sure = self._claims.knows_holder or not record.history.crashes
        if record.delivery.arrival is Arrival.OURS and sure:
            return None
        outcome = decide_abandoned(record.history, self.config)
        crashes = outcome.history.crashes
        logger.log(
            logging.WARNING if crashes >= SUSPECT_FROM else logging.INFO,
            "%s: message %s was in flight elsewhere and not settled (%d in a row): %s",
            *(self.queue_name, record.delivery.message.message_id, crashes, outcome.action),
        )
        return await self._attempt.not_run(record, outcome)

    def _give_back(self, record: Record, waited_for: str) -> Outcome:
        """The outcome of a delivery that can't be run before the broker takes it back."""
        logger.info(
            "%s: message %s is given back: it waits for %s, and the broker wants it settled in time",
            *(self.queue_name, record.delivery.message.message_id, waited_for),
        )
        return put_back(record.history)

    def _is_full(self) -> bool:
        """True while the broker sends nothing more, because all that it may have sent is in flight."""
        return len(self.in_flight) - len(self.held) >= self.config.prefetch

    # --- the life of its links

    async def open(self) -> None:
        if self._admission.draining:
            await asyncio.Event().wait()  # for the supervisor's end: a drained worker never consumes again
        self._deadlines.set(self.consumer.settle_within)  # first: deliveries may come before it is said to be open
        await self.intake.open()
        self._redeliveries.opened()
        self.look_into_quarantine()

    async def lost(self) -> str:
        why = await self.consumer.lost()
        self._deadlines.set(self.consumer.settle_within)  # the link may have told; a reader may still receive
        await self._let_go()
        return why

    async def close(self) -> None:
        await asyncio.gather(self._let_go(), self._processor.close())

    async def drain(self, timeout: float) -> None:
        """Take nothing more, put back what has not begun, and let the rest finish: for `timeout` seconds at most."""
        emit(DrainStarted(self.queue_name, len(self.in_flight)))
        self._admission.drain(len(self.in_flight.by_task()))
        self._settlement.drain()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await self.intake.hold_back(HoldBack.DRAIN)
        except (BrokerError, TimeoutError):
            await self._let_go()  # nothing can be settled over a link that does not answer
        records = self.in_flight.by_task()
        pending = (await asyncio.wait(records, timeout=timeout))[1] if records else set()
        for task in pending:
            name = records[task].delivery.message.message_id
            logger.error("%s: message %s: still running after %g s of draining", self.queue_name, name, timeout)
            task.cancel()
        emit(DrainEnded(self.queue_name, len(pending)))

    async def _let_go(self) -> None:
        """Close the link. What came by it can't be settled any more; handlers that run go on running."""
        try:
            await self.intake.close()
            await asyncio.sleep(0)  # let a delivery that came last get into the register
        finally:
            self._redeliveries.lost(self.in_flight.lose(self.consumer))
            self.pause.wake()

    # --- what others may know

    @property
    def handler(self) -> object | None:
        return self._dispatcher.handler(self.queue_name)

    @property
    def draining(self) -> bool:
        return self._admission.draining

    @property
    def quiet_now(self) -> bool:
        """True while nothing is received because of what is in flight: a group of suspects, or what is held."""
        return bool({HoldBack.QUARANTINE, HoldBack.HELD} & self.intake.reasons)

    @property
    def consumes(self) -> bool:
        """True while deliveries can be run: the handler's context is open, the link is there, and nothing drains."""
        return not self.draining and (self.consumer.registered or self.quiet_now)

    async def quiet(self, timeout: float) -> None:
        """Return when nothing is in flight but what is held, or after `timeout` seconds."""
        deadline = now() + timeout
        while (busy := self._busy()) and now() < deadline:
            await asyncio.wait(busy, timeout=min(LOOK_FOR_HELD, deadline - now()))

    def _busy(self) -> set[asyncio.Task[Outcome | None]]:
        tasks = {task for task, record in self.in_flight.by_task().items() if not record.lost}
        return tasks - self.held.tasks

    def look_into_quarantine(self) -> None:
        """A message may lie there that can be run now."""
        self._quarantine_filled.set()

    async def quarantine_filled(self, timeout: float) -> None:
        """Return when a message may lie in the quarantine: one was put there, or this has connected, or time is up."""
        await until(self._quarantine_filled, timeout)
        self._quarantine_filled.clear()
