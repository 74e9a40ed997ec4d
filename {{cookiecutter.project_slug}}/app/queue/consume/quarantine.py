# The template's: an update changes it. Which files are yours: README.md.
"""Messages that were in flight when a process died, until one has been run: so that one that kills is found.

Each death counts, in the message, before it is run again. Most kills come from outside, so what was in flight once is
no suspect: it runs at once, beside all others. What was in flight at two deaths in a row is one: it runs in a small
group with nothing beside it, and after each further death in a smaller one, until it is alone. So what dies
with the guilty one is not blamed for it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from app.queue.clock import chance
from app.queue.consume.intake import HoldBack
from app.queue.consume.worker import QueueWorker
from app.queue.errors import BrokerError, BrokerRefusedError
from app.queue.interfaces import Arrival, DeadLetterQueueHandler, Delivery
from app.queue.messages.headers import history_of
from app.queue.messages.outcome import Outcome
from app.queue.policy import group_size, put_back

logger = logging.getLogger(__name__)
Running = asyncio.Future[object]  # a delivery of the quarantine, until it is settled

LOOK_EVERY = 30.0  # seconds between looks for what another process has left behind
ROOM_TIMEOUT = 10.0  # seconds to wait until nothing else is in flight
LOOK_FOR_HELD = 1.0  # seconds
ALONE_FOR = 5.0  # seconds for which a group runs alone: what kills, kills soon, and the queue can't stand still long


class Quarantine:
    """Runs what is in quarantine of one queue."""

    def __init__(
        self, worker: QueueWorker, reader: DeadLetterQueueHandler, old_reader: DeadLetterQueueHandler | None = None
    ) -> None:
        """`old_reader`: of the place before the first release. It is emptied once; to be dropped with the next one."""
        self._worker = worker
        self._reader = reader
        self._old_reader = old_reader
        self._running: set[Running] = set()
        self._suspects: set[Running] = set()  # of these, the group that was begun last

    async def run(self) -> None:
        """Look after each connect, whenever the worker has put something there, and now and then, until cancelled."""
        try:
            while True:
                await self._worker.quarantine_filled(LOOK_EVERY * chance.uniform(0.9, 1.1))
                try:
                    await self._empty_old()
                    await self._empty(self._reader)
                except BrokerError as error:
                    logger.debug("%s: can't look into the quarantine now: %s", self._worker.queue_name, error)
                except Exception:
                    logger.exception("%s: running a message of the quarantine failed", self._worker.queue_name)
        finally:
            await self._reader.close()
            if self._old_reader is not None:
                await self._old_reader.close()

    async def _empty(self, reader: DeadLetterQueueHandler) -> bool:
        """Run what lies there. True if nothing does any more."""
        while self._worker.consumes:
            if not await self._release(reader):
                return self._worker.consumes
            if not self._suspects:
                await self._run_group(reader)
            if self._suspects:
                break  # their end brings us back
        return False

    async def _empty_old(self) -> None:
        if self._old_reader is not None:
            try:
                if not await self._empty(self._old_reader):
                    return
            except BrokerRefusedError:
                pass  # there is no such place
            if self._running:
                await asyncio.wait(self._running)  # what came by the reader is settled by it
            await self._old_reader.close()
            self._old_reader = None

    async def _release(self, reader: DeadLetterQueueHandler) -> bool:
        """Run what is no suspect, once through, as fast as there are slots. True if there are suspects."""
        put_back: set[Running] = set()
        for _ in range(await reader.depth()):
            await self._fewer(self._running, self._worker.config.concurrency)
            delivery = await reader.receive() if self._worker.consumes else None
            if delivery is None:
                break
            if self._group_size(delivery) is None:
                self._run(delivery, reader)
            else:
                put_back.add(self._put_back(delivery, reader))
        await self._fewer(put_back, 1)
        return bool(put_back)

    async def _fewer(self, running: set[Running], than: int) -> None:
        """Return when fewer of these run than that. What is held doesn't count: it may be so for long."""
        while len(busy := (running & self._running).difference(self._worker.held.tasks)) >= than:
            await asyncio.wait(busy, timeout=LOOK_FOR_HELD, return_when=asyncio.FIRST_COMPLETED)

    async def _run_group(self, reader: DeadLetterQueueHandler) -> None:
        """Run a few suspects with nothing beside them; after a while, beside others. There is one group at a time."""
        worker, too_many = self._worker, None
        try:
            await worker.intake.hold_back(HoldBack.QUARANTINE)
            await worker.quiet(ROOM_TIMEOUT)
            group, too_many = await self._next_group(reader)
            for delivery in group:
                running = self._run(delivery, reader)
                self._suspects.add(running)
                running.add_done_callback(self._ended)
            if self._suspects:
                await asyncio.wait(self._suspects, timeout=ALONE_FOR)
        finally:
            with suppress(BrokerError):  # the link is lost then; the worker receives when it is opened
                await worker.intake.take_back(HoldBack.QUARANTINE)
            if too_many is not None:  # now, for its place may take nothing
                self._put_back(too_many, reader)

    async def _next_group(self, reader: DeadLetterQueueHandler) -> tuple[list[Delivery], Delivery | None]:
        """The next suspects that may run together, and one that must go back, since it may not run with so many."""
        group: list[Delivery] = []
        limit = self._worker.config.concurrency
        while len(group) < limit and self._worker.consumes:
            try:
                delivery = await reader.receive()
            except BrokerError:
                if not group:
                    raise
                break  # these are here, and must not be forgotten
            if delivery is None:
                break
            size = self._group_size(delivery) or limit
            if size <= len(group):
                return group, delivery
            group.append(delivery)
            limit = min(limit, size)
        return group, None

    def _ended(self, running: Running) -> None:
        self._suspects.discard(running)
        if not self._suspects:
            self._worker.look_into_quarantine()

    def _group_size(self, delivery: Delivery) -> int | None:
        """How many may run together with it; None if it is no suspect, or came again, which the worker sees to."""
        if delivery.arrival is not Arrival.NEW:
            return None
        return group_size(history_of(delivery.message).crashes, self._worker.config.concurrency)

    def _run(self, delivery: Delivery, reader: DeadLetterQueueHandler, outcome: Outcome | None = None) -> Running:
        running: Running = asyncio.ensure_future(self._worker.handle(delivery, reader, outcome))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    def _put_back(self, delivery: Delivery, reader: DeadLetterQueueHandler) -> Running:
        """To the end, as it came."""
        return self._run(delivery, reader, put_back(history_of(delivery.message)))
