# The template's: an update changes it. Which files are yours: README.md.
"""The contract between the core and a provider, and what the two exchange.

A provider is a package under `providers/` that speaks to one kind of broker. It supplies primitives and nothing
else: connect, receive, ack, move a message to another place, publish. Every decision (when to retry, how long to
wait, when to give up, what is poison) is made by the core, once, for all providers.

All calls are made on one event loop, the one on which the object was opened.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from app.queue.messages.body import Body
from app.queue.messages.message import Arrival, Delivery, Message, Place
from app.queue.middleware import PublishMiddleware
from app.queue.settings.queues import QueueConfig

__all__ = ["Arrival", "Body", "Delivery", "Message", "Place"]  # of other modules, and in the contract, too

PublisherState = Literal["ready", "blocked", "down"]
BreakerState = Literal["closed", "open", "half-open"]


class Dispatcher(Protocol):
    """What a consumer has of the handlers: `MessageProcessor` is one."""

    async def process_payload(self, queue: str, payload: Mapping[str, Any]) -> None:
        """Call the handler for a decoded body. Raises InvalidMessageError, or what the handler raises."""


class Part:
    """Something of one queue."""

    def __init__(self, queue_name: str, config: QueueConfig) -> None:
        self.queue_name = queue_name
        self.config = config


class Link(Part, ABC):
    """It lives as long as its link to the broker, and can be opened again after that."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and get ready, after a loss too; return at once if that is so already. Raises BrokerError."""

    @abstractmethod
    async def lost(self) -> str:
        """Return when the link is gone, with the reason in words."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything, in bounded time, whatever state the link is in. May be called twice."""


class QueueConsumer(Link):
    """Receives the messages of one queue. `open()` sees to it that the queue and its places exist."""

    def __init__(self, queue_name: str, config: QueueConfig, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config)
        self.dispatcher = dispatcher
        self.on_delivery: Callable[[Delivery], Coroutine[Any, Any, Any]] | None = None
        """Started as a task of its own for every delivery. Set before `open()`."""
        self.settle_within: float | None = None
        """Seconds after which the broker takes back what is not settled, as far as is known; None if it never does.

        What can't be run in that time is given back before. A broker whose leases are prolonged has no such time.
        """

    @abstractmethod
    async def stop_intake(self) -> None:
        """Receive nothing more, until `start_intake()` or `open()`. Deliveries in flight can still be settled."""

    @abstractmethod
    async def start_intake(self) -> None:
        """Receive again."""

    @abstractmethod
    async def make_room(self, held: int) -> None:
        """Receive up to `prefetch` messages besides `held` of those in flight, which can't be settled for now.

        Called whenever that number changes; 0 after `open()`. A broker whose window can't be changed may let a few more
        in, or let half of `prefetch` go unused. Raises BrokerError.
        """

    @property
    @abstractmethod
    def registered(self) -> bool:
        """True only while the broker would give us the next message."""

    def deliver(self, delivery: Delivery) -> None:
        """Start `on_delivery`, as a task of its own: whoever calls this may end. The worker keeps hold of the task."""
        assert self.on_delivery is not None
        asyncio.get_running_loop().create_task(self.on_delivery(delivery))

    async def process_message(self, payload: Mapping[str, Any]) -> None:
        """Call the handler for `payload`, a message's decoded body, as if it had been received.

        Raises what the handler raises, or InvalidMessageError. Nothing is settled: there is no delivery.
        """
        await self.dispatcher.process_payload(self.queue_name, payload)


class QueueProcessor(Part, ABC):
    """Settles the deliveries of one queue. What is to be done with one is the core's decision.

    Either call returns when the broker has the new state safely, and raises BrokerError otherwise: the delivery
    then remains unsettled. One whose link is lost can't be settled any more (DeliveryLostError); it will come again.
    Connects on first use, and again after a loss.
    """

    @abstractmethod
    async def ack(self, delivery: Delivery) -> None:
        """The message is done: forget it."""

    @abstractmethod
    async def move(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        """Put `message` in `place` and forget `delivery`: never the second without the first.

        `delay` is in seconds, for Place.RETRY. A broker that has a place for each delay takes the next longer one.
        Raises AckLostError if `message` is safe but `delivery` could not be forgotten.
        """

    @property
    def state(self) -> PublisherState | None:
        """How the connection is that messages are moved over; None if that is the consumer's own.

        Asked on the event loop, after a call that failed.
        """
        return None

    @abstractmethod
    async def close(self) -> None:
        """As for a Link."""


class QueuePublisher(Link):
    """Publishes to the queues of one broker. Opens itself on first use, and again after a loss."""

    @property
    @abstractmethod
    def state(self) -> PublisherState:
        """`ready`, `blocked` (connected, but the broker accepts no messages now) or `down`."""

    @property
    @abstractmethod
    def breaker_state(self) -> BreakerState:
        """The state of the circuit breaker around publishing."""

    @abstractmethod
    async def publish_message(
        self, queue: str, body: Body, *, message_id: str | None = None, headers: Mapping[str, Any] | None = None
    ) -> str:
        """Publish `body` to `queue`; return the message's id once the broker has confirmed it. Raises PublishError."""


class DeadLetterQueueHandler(Part, ABC):
    """Reads the dead-letter queue of one queue, or another of its places, one message at a time.

    What it takes is settled with the queue's QueueProcessor. Connects on first use, and again after a loss.
    """

    def __init__(self, queue_name: str, config: QueueConfig, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config)
        self.place = place

    @abstractmethod
    async def depth(self) -> int:
        """How many messages lie there; those in flight count or don't, as the broker has it. Raises BrokerError."""

    @abstractmethod
    async def receive(self) -> Delivery | None:
        """The oldest message, in flight, or None if there is none. Raises BrokerError."""

    @abstractmethod
    async def close(self) -> None:
        """As for a Link. What was taken and not settled returns to its place."""


class QueueHealthCheck(Part, ABC):
    """Asks the broker itself, because a link that looks open may be long dead."""

    @abstractmethod
    async def probe(self) -> None:
        """Have the broker answer over the links of this event loop, if there are any.

        Raises BrokerError; a link that did not answer is given up by then, so that it is opened anew.
        """


@dataclass(frozen=True, slots=True)
class Claims:
    """What a kind of broker can do, as far as brokers differ. The core, the docs and the contract suite go by it.

    Attributes:
        confirms_acks: an ack that returned is at the broker. If not, the last ones may be lost with the link, and what
            they were for comes again.
        knows_holder: `Arrival.OURS` is sure. If not it is a guess, and one that was abandoned before is not guessed at.
        ordered: one publisher's messages come in order to one consumer, while nothing fails.
        outlives_process: messages outlive the process of the service.
        outlives_broker: messages, and the delays of retries, outlive a kill -9 of the broker.
        says_blocked: the broker can say that it accepts no messages for now.
        drops_repeats: a message that is published again, with the same id and body, is not kept twice.
        moves_in_one_step: a crash while a message is moved never leaves it in two places.
    """

    confirms_acks: bool = True
    knows_holder: bool = False
    ordered: bool = True
    outlives_process: bool = True
    outlives_broker: bool = True
    says_blocked: bool = True
    drops_repeats: bool = False
    moves_in_one_step: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """A kind of broker. Its package's `__init__.py` holds one of these, named `provider`."""

    config: type[QueueConfig]
    consumer: Callable[[str, Any, Dispatcher], QueueConsumer]
    processor: Callable[[str, Any], QueueProcessor]
    publisher: Callable[[str, Any, tuple[PublishMiddleware, ...]], QueuePublisher]
    dead_letters: Callable[[str, Any, Place], DeadLetterQueueHandler]
    health_check: Callable[[str, Any], QueueHealthCheck]
    claims: Claims = Claims()
