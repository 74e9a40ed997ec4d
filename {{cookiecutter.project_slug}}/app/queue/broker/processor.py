# The template's: an update changes it. Which files are yours: README.md.
"""TwoStepProcessor: a move where the broker has no transaction. First put, then forget; the order can't be changed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any, ClassVar, Protocol, final, runtime_checkable

from app.queue.broker.connection import Connection, forget
from app.queue.broker.link import Linked
from app.queue.broker.shortening import fitting
from app.queue.errors import AckLostError, BrokerError, BrokerUnavailableError, PublishError, UnroutableError
from app.queue.interfaces import QueueProcessor
from app.queue.messages.message import Delivery, Message, Place, place_name


@runtime_checkable
class Lent(Protocol):
    """A delivery's token where the broker lends messages for a time, and gives them out again, such as a `Lease`."""

    def let_go(self) -> None:
        """Keep the message no longer: it is to come again."""


class BrokerProcessor(QueueProcessor):
    """What settling has in common: it ends in time, and a delivery's token knows whether it can be settled."""

    @abstractmethod
    async def forget(self, delivery: Delivery) -> None:
        """Have the broker forget the message of a delivery whose token is good. Raises BrokerError."""

    async def ack(self, delivery: Delivery) -> None:
        delivery.token.check()
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await self.forget(delivery)
        except TimeoutError:
            raise BrokerUnavailableError("the broker did not confirm the ack in time") from None

    async def close(self) -> None:
        """Nothing of its own is open, unless a provider says so."""

    def place(self, place: Place, delay: float) -> str:
        """What a place is called at the broker."""
        return place_name(self.queue_name, place, delay)

    async def in_time(self, target: str, putting: Any) -> None:
        """Await what puts a message into `target`. Raises PublishError if that is not confirmed in time."""
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await putting
        except TimeoutError:
            raise PublishError(f"the broker did not confirm for {target!r} in time", may_have_landed=True) from None


class TwoStepProcessor(BrokerProcessor):
    """A crash between the two leaves the message in both places. It is never in neither."""

    drops_repeats: ClassVar[bool] = False  # True: the broker keeps once what is put again for the same delivery

    def __init__(self, queue_name: str, config: Any) -> None:
        super().__init__(queue_name, config)
        self._unconfirmed: dict[Delivery, asyncio.Future[None]] = {}
        """What is being put still, although the time for that was up: a broker that was frozen may take it yet."""

    async def close(self) -> None:
        for putting in self._unconfirmed.values():
            putting.cancel()
        self._unconfirmed.clear()

    @abstractmethod
    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        """Return once the broker has `message` safely in `target`.

        Raises what `GuardedPublisher.send()` raises. `delivery` says what is moved, for a broker that drops repeats.
        """

    async def ensure(self, target: str) -> None:
        """Make a place anew that somebody has deleted. Raises BrokerError."""

    def carried(self, delivery: Delivery, message: Message) -> Message:  # noqa: ARG002 - for a broker that acts on some
        """The message without what the broker would act upon when it is put elsewhere."""
        return message

    @final
    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        try:
            delivery.token.check()
        except BrokerError:
            if (putting := self._unconfirmed.pop(delivery, None)) is not None:
                putting.cancel()
            raise
        target = self.place(place, delay)
        if not await self._landed(delivery, target):
            message = self.carried(delivery, message)
            once = self._put if self.drops_repeats else self._put_once
            await fitting(message, lambda variant: self.in_time(target, once(target, variant, delivery, delay)))
        try:
            await self.ack(delivery)
        except BrokerError as error:
            if isinstance(delivery.token, Lent):
                delivery.token.let_go()  # it is to come again, and then needs only its ack
            raise AckLostError(str(error)) from error

    async def _landed(self, delivery: Delivery, target: str) -> bool:
        """True if an earlier try, whose time was up, was confirmed since. Raises PublishError if that may come yet.

        What was put then is safe, wherever that was. To put it again would leave a copy for each try.
        """
        if (earlier := self._unconfirmed.get(delivery)) is None:
            return False
        try:
            await self.in_time(target, asyncio.shield(earlier))
        except Exception:
            if not earlier.done():
                raise
        del self._unconfirmed[delivery]
        return earlier.exception() is None

    async def _put_once(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        """Put it; if that is cancelled, it goes on, and ends with the link."""
        putting = self._unconfirmed[delivery] = asyncio.ensure_future(self._put(target, message, delivery, delay))
        putting.add_done_callback(forget)
        try:
            await asyncio.shield(putting)
        except Exception:
            self._unconfirmed.pop(delivery, None)  # unless it was closed meanwhile
            raise
        self._unconfirmed.pop(delivery, None)

    async def _put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        try:
            await self.put(target, message, delivery, delay)
        except UnroutableError:
            # Somebody deleted it while we consumed.
            await self.ensure(target)
            await self.put(target, message, delivery, delay)


class LinkedProcessor(TwoStepProcessor, Linked[Connection]):
    """Puts over a link of its own, which is open when `put()` and `ensure()` are called."""

    def __init__(self, queue_name: str, config: Any) -> None:
        super().__init__(queue_name, config)
        self.link = self.make_link()

    async def close(self) -> None:
        await super().close()
        await self.link.close()

    async def _put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        await self.link.open()
        await super()._put(target, message, delivery, delay)
