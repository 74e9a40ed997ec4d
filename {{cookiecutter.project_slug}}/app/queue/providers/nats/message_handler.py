"""NatsMessageHandler: settles deliveries."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from app.queue.errors import (
    AckLostError,
    BrokerError,
    BrokerUnavailableError,
    DeliveryLostError,
    MessageTooLargeError,
    PublishError,
    UnroutableError,
)
from app.queue.interfaces import Delivery, Message, Place, QueueProcessor
from app.queue.providers.nats.link import NatsLink
from app.queue.providers.nats.messages import handed_over_as
from app.queue.providers.nats.pull import Token
from app.queue.providers.nats.put import put
from app.queue.providers.nats.streams import ensure_stream, subject

if TYPE_CHECKING:
    from app.queue.providers.nats.config import NatsQueueConfig

logger = logging.getLogger(__name__)

TOO_LARGE_AGAIN = 3600.0
"""Seconds until a message is delivered again that leaves no room for what a hand-over adds to it."""


class NatsMessageHandler(QueueProcessor):
    """Acks, which the server confirms; hands over by a confirmed publish, and then acks.

    Two steps, so a crash between them leaves the message in both places. It is never in neither.
    """

    config: NatsQueueConfig

    def __init__(self, queue_name: str, config: NatsQueueConfig) -> None:
        super().__init__(queue_name, config)
        self._link = NatsLink(config)

    async def ack(self, delivery: Delivery) -> None:
        token: Token = delivery.token
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await token.ack()
        except TimeoutError:
            raise BrokerUnavailableError("the server did not confirm the ack in time") from None

    async def hand_over(self, delivery: Delivery, message: Message, place: Place, delay: float = 0.0) -> None:
        token: Token = delivery.token
        token.check()
        target = subject(self.queue_name, place)
        try:
            async with asyncio.timeout(self.config.publish_timeout):
                await self._put(target, message, handed_over_as(token.received), delay)
        except TimeoutError:
            raise PublishError(f"the broker did not confirm for {target!r} in time", may_have_landed=True) from None
        except MessageTooLargeError as error:
            # It would be too large at every try, and must not hold a place in hand for ever.
            logger.warning("%s: message %s stays where it is: %s", self.queue_name, message.message_id, error)
            await token.put_back(TOO_LARGE_AGAIN)
            raise DeliveryLostError(str(error)) from error
        try:
            await self.ack(delivery)
        except BrokerError as error:
            token.let_go()
            raise AckLostError(str(error)) from error

    async def close(self) -> None:
        await self._link.close()

    async def _put(self, target: str, message: Message, stored_as: str, delay: float) -> None:
        await self._link.open()
        connection = self._link.connection
        try:
            await put(connection, target, message, stored_as, delay=delay, fit=True)
        except UnroutableError:
            # Somebody deleted the stream while we consumed.
            await ensure_stream(connection, self.config, target)
            await put(connection, target, message, stored_as, delay=delay, fit=True)
