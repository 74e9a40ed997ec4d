# The template's: an update changes it. Which files are yours: README.md.
"""What can't be settled now, because the broker does not take it where it is to go. It must not hold up the others."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from app.queue.clock import chance, now
from app.queue.consume.in_flight import Record
from app.queue.consume.intake import HoldBack, Intake
from app.queue.errors import BrokerError
from app.queue.instrumentation.events import MessageHeld, MessageReleased, emit
from app.queue.interfaces import PublisherState
from app.queue.messages.outcome import Outcome
from app.queue.settings.queues import HeldConfig

logger = logging.getLogger(__name__)

SAY_EVERY = 60.0  # seconds between the lines in the log that say that messages are held
MAX_WAIT = 2.0  # seconds between two tries of a message, at most, while no more than AT_A_TIME are held
AT_A_TIME = 20
WAKES = 2  # how many try at once when one was settled: that doubles if the place is open again, and else stays small


class Held:
    """The deliveries of one queue that are held. The consumer receives others beside them, up to a bound."""

    def __init__(self, queue: str, config: HeldConfig, intake: Intake) -> None:
        self._queue = queue
        self._config = config
        self._intake = intake
        self._bytes: dict[Record, int] = {}
        self._waiting: dict[asyncio.Future[None], None] = {}
        self._said_at = 0.0
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.why = ""  # why the last one could not be settled, in the broker's words; "" while nothing is held
        # How the connection is over which it was to be moved; None while nothing is held, or if it is the consumer's.
        self.mover: PublisherState | None = None

    def __len__(self) -> int:
        return len(self._bytes)

    @property
    def tasks(self) -> set[asyncio.Task[Outcome | None]]:
        """What holds them."""
        return {record.task for record in self._bytes}

    @property
    def is_full(self) -> bool:
        """True at the bound: nothing more is received until one is settled."""
        return len(self) >= self._config.messages or sum(self._bytes.values()) >= self._config.bytes

    @property
    def seconds(self) -> float:
        """For how long at least one has been held, from any thread."""
        return self._loop.time() - self._since if self._bytes and self._loop else 0.0

    @property
    def detail(self) -> str | None:
        """How many are held, and why, for health; None if none is."""
        if not self._bytes:
            return None
        stopped = ", so nothing more is received" if HoldBack.HELD in self._intake.reasons else ""
        return f"{len(self)} messages can't be settled{stopped}: {self.why}"

    async def hold(self, record: Record, error: Exception) -> None:
        """It could not be settled. The first time, others get its room."""
        self.why = str(error) or type(error).__name__
        if record not in self._bytes:
            message = record.delivery.message
            if not self._bytes:
                self._loop = asyncio.get_running_loop()
                self._since = self._said_at = now()
            self._bytes[record] = len(message.body)
            # What is not the broker's doing is worth a look at where it went wrong.
            shown = None if isinstance(error, BrokerError) else error
            log = logger.warning if len(self) <= AT_A_TIME else logger.debug
            log("%s: message %s is held: %s", self._queue, message.message_id, error, exc_info=shown)
            emit(MessageHeld(self._queue, message.message_id, str(error)))
            await self._make_room()
        elif now() - self._said_at >= SAY_EVERY:
            self._said_at = now()
            logger.warning("%s: %s (for %d s)", self._queue, self.detail, self.seconds)

    async def release(self, record: Record) -> None:
        """It is settled, or can't be any more."""
        if self._bytes.pop(record, None) is None:
            return
        emit(MessageReleased(self._queue, record.delivery.message.message_id))
        if not self._bytes:
            self.why, self.mover = "", None
            logger.info("%s: no message is held any more", self._queue)
        self.try_again(WAKES)
        await self._make_room()

    def try_again(self, at_most: int | None = None) -> None:
        """Something was settled, so what is held may be, too: these try at once, those that wait for longest first."""
        for waits in list(self._waiting)[:at_most]:
            if not waits.done():
                waits.set_result(None)

    async def wait(self, tries: int) -> None:
        """Wait until the next try: the longer the more are held, with jitter, or until one was settled."""
        longest = min(MAX_WAIT, 0.1 * 2 ** min(tries, 10)) * max(1.0, len(self) / AT_A_TIME)
        told = asyncio.get_running_loop().create_future()
        self._waiting[told] = None
        try:
            await asyncio.wait([told], timeout=chance.uniform(0.0, longest))
        finally:
            del self._waiting[told]

    async def _make_room(self) -> None:
        with suppress(BrokerError):  # the link is lost then, and what it had in flight with it
            if not self.is_full:
                await self._intake.take_back(HoldBack.HELD)
                await self._intake.make_room(len(self))
            elif HoldBack.HELD not in self._intake.reasons:
                logger.error("%s: %s, which is the bound: nothing more is received", self._queue, self.detail)
                await self._intake.hold_back(HoldBack.HELD)
