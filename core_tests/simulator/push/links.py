"""The links of the broker that pushes: a channel that receives, and one that publishes."""

from __future__ import annotations

from functools import partial
from typing import Any

from app.queue.broker.errors import unconfirmed
from app.queue.broker.pushed import GONE, PushLink, Tag
from app.queue.errors import BrokerError, BrokerUnavailableError, DeliveryLostError, PublisherBlockedError
from app.queue.interfaces import Arrival, Delivery, Message
from core_tests.simulator.connection import CONSUME, PUBLISH, SimulatedConnection, SimulatedLink


class ChannelLink(SimulatedLink, PushLink[SimulatedConnection]):
    """A link with a channel of its own."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, CONSUME)
        self.settle_within: float | None = None
        """What the broker has told when it closed the channel."""
        self._opens = 0

    async def opened(self, connection: SimulatedConnection) -> None:
        self._opens += 1
        self.channel = await connection.call("open_channel", partial(self._on_closed, self._opens))
        self.in_flight = 0

    async def closing(self, connection: SimulatedConnection) -> None:
        channel, self.channel = self.channel, None
        if channel is not None and connection.is_open:
            try:
                await connection.call("close_channel", channel, timeout=1.0)
            except BrokerError as error:
                connection.lose(str(error))

    def ack(self, number: int) -> None:
        if not self.is_open:
            raise DeliveryLostError(GONE)
        self.connection.tell("ack", self.channel, number)

    def _on_closed(self, number: int, why: str, settle_within: float) -> None:
        if number == self._opens:
            self.settle_within = settle_within
            self.lose(why)

    def delivery(self, queue: str, tag: int, message: Message, *, redelivered: bool) -> Delivery:
        """A delivery that came by it."""
        arrival = Arrival.ABANDONED if redelivered else Arrival.NEW
        return Delivery(queue, message, arrival, Tag(self, self.channel, tag), message.message_id)


class PublishLink(SimulatedLink):
    """A link that publishes, with confirms."""

    def __init__(self, config: Any) -> None:
        super().__init__(config, PUBLISH)

    async def put(self, queue: str, message: Message) -> None:
        """Return once the broker has confirmed. Raises as `PublishChannel.put()` of RabbitMQ's provider does."""
        if self.is_blocked:
            raise PublisherBlockedError("the broker accepts no messages for now; nothing was sent")
        connection = self.connection
        try:
            await connection.call("publish", queue, message)
        except BrokerUnavailableError as error:
            if connection.is_open:
                raise  # refused
            raise unconfirmed(error) from error
