# The template's: an update changes it. Which files are yours: README.md.
"""PushedConsumer: what the consumer of every broker that pushes does around registering there."""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

from app.queue.broker.connection import Connection, forget
from app.queue.broker.link import BrokerLink
from app.queue.broker.on_their_way import OnTheirWay
from app.queue.clock import now
from app.queue.errors import BrokerError, BrokerUnavailableError, DeliveryLostError
from app.queue.interfaces import Arrival, Delivery, Dispatcher, QueueConsumer

logger = logging.getLogger(__name__)

LOOK_EVERY = 5.0
RENEW_AFTER = 20.0  # seconds without a message
GONE = "the delivery's channel is gone"


class PushLink(BrokerLink[Connection]):
    """A link over which messages come, each with a number."""

    channel: Any = None  # what the numbers belong to: another one each time that the link is opened. A provider sets it
    in_flight = 0  # what came over it and is not acked. The consumer counts it up, a `Tag` down

    def ack(self, number: int) -> None:
        """Ack what came over the channel of now, or see to it that this is done. Raises DeliveryLostError."""
        raise NotImplementedError


class Tag(NamedTuple):
    """A delivery's token: the channel that it came over, and its number there."""

    link: PushLink[Any]
    channel: Any
    number: int

    def check(self) -> None:
        """Raise DeliveryLostError if the channel is gone."""
        if not self.link.is_open or self.link.channel is not self.channel:
            raise DeliveryLostError(GONE)

    def ack(self) -> None:
        """Ack. Raises DeliveryLostError."""
        if self.link.channel is not self.channel:
            raise DeliveryLostError(GONE)
        self.link.ack(self.number)
        self.link.in_flight -= 1


Link = TypeVar("Link", bound=PushLink[Any])


class PushedConsumer(QueueConsumer, Generic[Link]):
    """Registers, and has up to `prefetch` messages sent; registers anew when nothing comes, for the broker may forget.

    A provider gives each message that comes to `took()`, and fills in the abstract methods.
    """

    def __init__(self, queue_name: str, config: Any, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config, dispatcher)
        self.link = self.make_link()
        self._registration: str | None = None
        self._changing = asyncio.Lock()
        self._received = 0
        self._closes = 0
        self._consumed = False
        self._on_their_way = OnTheirWay()
        self._renewing: asyncio.Task[None] | None = None
        self.window = config.prefetch  # how many messages the next registration may have in flight
        self._widening: asyncio.Task[None] | None = None
        self._held = 0  # messages in flight that don't count
        self._disregarded = 0  # of these, how many came to a registration before this one, and are not in its window

    @abstractmethod
    def make_link(self) -> Link:
        """A link, not yet opened."""

    @abstractmethod
    async def ensure(self) -> None:
        """See to it that the queue and its places exist; the link is open. Raises BrokerError."""

    @abstractmethod
    async def register(self, link: Link) -> str:
        """Have messages sent over the link, `window` in flight at most. Returns its name. Raises BrokerError."""

    @abstractmethod
    async def cancel(self, registration: str) -> None:
        """Have nothing more sent over the consumer's link. Raises BrokerError."""

    async def open(self) -> None:
        self._registration = None
        self._held = 0
        await self.link.open()
        try:
            await self.ensure()
            await self.start_intake()
        except BaseException:
            await self.close()
            raise
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_whenever_idle())

    async def lost(self) -> str:
        while True:
            link = self.link
            why = await link.lost()
            if link is self.link:  # else it is renewed
                return why

    async def close(self) -> None:
        self._closes += 1
        self._registration = None
        if self._consumed:
            self._consumed = False
            self._on_their_way.expect(self.config.prefetch)
        renewing, self._renewing = self._renewing, None
        for task in (renewing, self._widening):
            if task is not None:
                task.cancel()
        await self.link.close()

    async def start_intake(self) -> None:
        async with self._changing:
            if self._registration is None:
                self._registration = await self._register(self.link)

    async def stop_intake(self) -> None:
        async with self._changing:
            registration, self._registration = self._registration, None
            if registration is not None:
                await self._cancel(registration)

    async def make_room(self, held: int) -> None:
        """A registration's window can't be changed. But what an earlier one of the link received is not in it."""
        async with self._changing:
            self._held, self._disregarded = held, min(self._disregarded, held)
            if held - self._disregarded >= max(1, self.config.prefetch // 2):
                await self._register_anew()

    async def renew(self) -> None:
        """Register anew, over a new link; `registered` remains true. Raises BrokerError, and then the link is lost."""
        async with self._changing:
            if not self.registered or self._registration is None:
                return
            spare, link, received = self.make_link(), self.link, self._received
            closes = self._closes
            try:
                await spare.open()
                await self.cancel(self._registration)
                if self._received != received:  # else nothing was on its way: it would have come before the answer
                    self._expect()
                # If something came meanwhile it is in flight, and can be settled over its own link alone.
                chosen = spare if self._received == received else link
                registration = await self._register(chosen)
                if closes != self._closes or not link.is_open:
                    raise BrokerUnavailableError("closed while the consumer was renewed")
                spare = link if chosen is spare else spare
                self.link, self._registration = chosen, registration
            except BrokerError as error:
                link.lose(str(error))
                raise
            finally:
                await spare.close()

    @property
    def registered(self) -> bool:
        return self._registration is not None and self.link.answers

    def took(self, link: Link, delivery: Delivery) -> None:
        """A message has come over the link: ABANDONED, if the broker says that somebody had it before."""
        self._received += 1
        link.in_flight += 1
        if self._is_narrow and (self._widening is None or self._widening.done()):
            self._widening = asyncio.create_task(self._widen())
            self._widening.add_done_callback(forget)
        if delivery.arrival is Arrival.ABANDONED and self._on_their_way.take():
            delivery.arrival = Arrival.OURS
        self.deliver(delivery)

    def cancelled(self) -> None:
        """The broker has ended the registration by itself."""
        self._registration = None
        self.link.lose(f"the broker cancelled the consumer: was the queue {self.queue_name!r} deleted?")

    async def _register(self, link: Link) -> str:
        """What came to an earlier registration is not in the window of this one, but counts: so it is narrower."""
        self.window = max(1, self.config.prefetch - max(0, link.in_flight - self._held))
        registration = await self.register(link)
        self._disregarded = self._held
        self._consumed = True
        return registration

    async def _cancel(self, registration: str) -> None:
        await self.cancel(registration)
        self._expect()

    def _expect(self) -> None:
        # A broker takes back what was on its way then, and says that somebody had it.
        self._on_their_way.expect(self.config.prefetch - self.link.in_flight)

    async def _register_anew(self) -> None:
        if self._registration is None:
            return
        try:
            await self._cancel(self._registration)
            self._registration = await self._register(self.link)
        except BrokerError as error:
            self.link.lose(str(error))
            raise

    @property
    def _is_narrow(self) -> bool:
        """True if most of the window is unused for what was in flight once, and is not any more."""
        half = self.config.prefetch // 2
        return self.window < half and self.link.in_flight - self._held <= half

    async def _widen(self) -> None:
        async with self._changing:
            if self._is_narrow:
                await self._register_anew()

    async def _renew_whenever_idle(self) -> None:
        """Register anew after RENEW_AFTER seconds without a message, for the broker may have forgotten us."""
        idle_with, since = self._idle_with(), now()
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if (received := self._idle_with()) is None or received != idle_with:
                idle_with, since = received, now()
            elif now() - since > RENEW_AFTER:
                since = now()
                try:
                    await self.renew()
                except BrokerError as error:
                    logger.warning("%s: %s", self.queue_name, error)
                except Exception:
                    logger.exception("%s: registering anew failed", self.queue_name)

    def _idle_with(self) -> int | None:
        """What came so far, if nothing is in flight and something could come."""
        return None if self.link.in_flight or not self.registered else self._received
