"""The contract between the core and a provider, and what the two exchange.

A provider is a package under `providers/` that speaks to one kind of broker. It supplies primitives and nothing
else: connect, receive, ack, hand a message over to another place, publish. Every decision (when to retry, how long to
wait, when to give up, what is poison) is made by the core, once, for all providers.

All calls are made on one event loop, the one on which the object was opened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

if TYPE_CHECKING:
    from app.queue.config import QueueConfig
    from app.queue.middleware import PublishMiddleware
    from app.queue.processor import MessageProcessor

PublisherState = Literal["ready", "blocked", "down"]
BreakerState = Literal["closed", "open", "half-open"]
Body = str | bytes | Mapping[str, Any] | BaseModel
"""What can be published: JSON text, or something that becomes a JSON object. It has a key `type`."""


@dataclass(slots=True)  # like Delivery not frozen: that makes one three times as slow to create
class Message:
    """A message, whatever broker it is in. Nobody changes it: `with_history()` and the like make another.

    Attributes:
        body: as it travels, normally a JSON object with a key `type`.
        message_id: unique as far as its publisher sees to it.
        headers: the publisher's and ours (`headers.py`). Unknown ones are passed on wherever the message goes.
        properties: what else the broker's own format knows, opaque to the core and passed on.
    """

    body: bytes
    message_id: str
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Any = None


@dataclass(slots=True, eq=False)
class Delivery:
    """A message in hand: the broker keeps it until it is settled, and gives it out again if we die.

    Attributes:
        queue: the queue's name in `queues.yaml`.
        message: what was delivered.
        redelivered: True if somebody had it in hand before and neither settled nor returned it.
        token: what the provider needs to settle it.
        identity: the id that the message came with, or "" if it had none and was given one.
    """

    queue: str
    message: Message
    redelivered: bool = False
    token: Any = None
    identity: str = ""


class Place(StrEnum):
    """Where a message can be handed over to. All places of a queue live in its broker."""

    QUEUE = "queue"
    """The tail of the queue itself."""
    RETRY = "retry"
    """Waits for a given time, then returns to the tail of the queue."""
    DLQ = "dlq"
    """`dlq_<queue>`, from where it is sent back now and then."""
    SUSPECTS = "suspects"
    """Where a message that was in hand when a consumer vanished waits to be run by itself."""
    PARKED = "parked"
    """`parked_<queue>`, where it stays until a person looks at it."""


class Link(ABC):
    """Something of one queue that lives as long as its link to the broker, and can be opened again after that."""

    def __init__(self, queue_name: str, config: QueueConfig) -> None:
        self.queue_name = queue_name
        self.config = config

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

    def __init__(self, queue_name: str, config: QueueConfig, dispatcher: MessageProcessor) -> None:
        super().__init__(queue_name, config)
        self.dispatcher = dispatcher
        self.on_delivery: Callable[[Delivery], Coroutine[Any, Any, Any]] | None = None
        """Started as a task of its own for every delivery. Set before `open()`."""

    @abstractmethod
    async def stop_intake(self) -> None:
        """Receive nothing more, until `start_intake()` or `open()`. Deliveries in hand can still be settled."""

    @abstractmethod
    async def start_intake(self) -> None:
        """Receive again."""

    @property
    @abstractmethod
    def registered(self) -> bool:
        """True only while the broker would give us the next message."""

    async def renew(self) -> None:
        """Register again, and remain `registered` meanwhile: a broker may forget a consumer without a word.

        Called now and then while nothing comes and nothing is in hand. Raises BrokerError, and then the link is lost.
        """

    async def process_message(self, payload: Mapping[str, Any]) -> None:
        """Call the handler for `payload`, a message's decoded body, as if it had been received.

        Raises what the handler raises, or InvalidMessageError. Nothing is settled: there is no delivery.
        """
        await self.dispatcher.process_payload(self.queue_name, payload)


class QueueProcessor(ABC):
    """Settles the deliveries of one queue. What is to be done with one is the core's decision.

    Either call returns when the broker has the new state safely, and raises BrokerError otherwise: the delivery
    then remains unsettled. One whose link is lost can't be settled any more (DeliveryLostError); it will come again.
    Connects on first use, and again after a loss.
    """

    def __init__(self, queue_name: str, config: QueueConfig) -> None:
        self.queue_name = queue_name
        self.config = config

    @abstractmethod
    async def ack(self, delivery: Delivery) -> None:
        """The message is done: forget it."""

    @abstractmethod
    async def hand_over(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        """Put `message` in `place` and forget `delivery`: never the second without the first.

        `delay` is in seconds and one of `config.retry.delays()`; only for Place.RETRY.
        Raises AckLostError if `message` is safe but `delivery` could not be forgotten.
        """

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
        self,
        queue: str,
        body: Body,
        *,
        message_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish `body` to `queue`; return the message's id once the broker has confirmed it. Raises PublishError."""


class DeadLetterQueueHandler(ABC):
    """Reads the dead-letter queue of one queue, or another of its places, one message at a time.

    What it takes is settled with the queue's QueueProcessor. Connects on first use, and again after a loss.
    """

    def __init__(self, queue_name: str, config: QueueConfig, place: Place = Place.DLQ) -> None:
        self.queue_name = queue_name
        self.config = config
        self.place = place

    @abstractmethod
    async def depth(self) -> int:
        """How many messages lie there; those in hand count or don't, as the broker has it. Raises BrokerError."""

    @abstractmethod
    async def take(self) -> Delivery | None:
        """The oldest message, in hand, or None if there is none. Raises BrokerError."""

    @abstractmethod
    async def close(self) -> None:
        """As for a Link. What was taken and not settled returns to its place."""


class QueueHealthCheck(ABC):
    """Asks the broker itself, because a link that looks open may be long dead."""

    def __init__(self, queue_name: str, config: QueueConfig) -> None:
        self.queue_name = queue_name
        self.config = config

    @abstractmethod
    async def probe(self) -> None:
        """Have the broker answer over the links of this event loop, if there are any.

        Raises BrokerError; a link that did not answer is given up by then, so that it is opened anew.
        """


@dataclass(frozen=True, slots=True)
class Provider:
    """A kind of broker. Its package's `__init__.py` holds one of these, named `provider`."""

    config: type[QueueConfig]
    consumer: Callable[[str, Any, MessageProcessor], QueueConsumer]
    processor: Callable[[str, Any], QueueProcessor]
    publisher: Callable[[str, Any, tuple[PublishMiddleware, ...]], QueuePublisher]
    dead_letters: Callable[[str, Any, Place], DeadLetterQueueHandler]
    health_check: Callable[[str, Any], QueueHealthCheck]
    in_process: bool = False
    """True if messages live in the process of the service, so that no other process can see them."""
