"""Delayed: what waits for its next attempt, in a stream of its own, until it is due.

JetStream can hold back a message that it has delivered (a nak with a delay), but can't change it, and the attempt count
travels in the message. So the changed message is put among the delayed ones. When it comes from there for the first
time it is put back with its delay, which the server keeps, also through a restart. When it comes again, it is due: it
is published to its queue, and acked once that is confirmed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from app.queue.errors import BrokerError, DeliveryLostError
from app.queue.interfaces import Place
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.messages import DELAY, handed_over_as, to_message
from app.queue.providers.nats.pull import Pull, Token
from app.queue.providers.nats.put import put
from app.queue.providers.nats.streams import stream_name, subject

logger = logging.getLogger(__name__)

AT_A_TIME = 100
CLOCKS_APART = 0.1
"""Seconds by which a message may look early because two clocks differ."""
AGAIN_AFTER = 2.0
"""Seconds until a message is tried again that its queue did not take."""


class Delayed:
    """Moves the delayed messages of one queue back to it. All instances of the service do so, side by side."""

    def __init__(self, connection: NatsConnection, config: NatsQueueConfig, on_end: Callable[[str], None]) -> None:
        self._queue = config.name
        self._timeout = config.publish_timeout
        stream = stream_name(subject(config.name, Place.RETRY))
        self._pull = Pull(connection, stream, AT_A_TIME, config.ack_wait, self._on_message, on_end)
        self._moving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin. Raises BrokerError."""
        await self._pull.start()

    async def close(self) -> None:
        """End: what is being moved is moved, or comes again."""
        await self._pull.ended()
        if self._moving:
            await asyncio.wait(self._moving)
        await self._pull.close()

    def _on_message(self, token: Token) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(token))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _settle(self, token: Token) -> None:
        rest = left_to_wait(token)
        if rest > 0:
            await token.put_back(rest)
            return
        message, _ = to_message(token.received)
        try:
            async with asyncio.timeout(self._timeout):
                connection = self._pull.connection
                await put(connection, self._queue, message, handed_over_as(token.received), fit=True)
                await token.ack()
        except DeliveryLostError:
            pass  # it comes again, and is known to the queue's stream
        except (BrokerError, TimeoutError) as error:
            logger.warning("%s: message %s can't be tried again now: %s", self._queue, message.message_id, error)
            await token.put_back(AGAIN_AFTER)


def left_to_wait(token: Token) -> float:
    """Seconds until a delayed message is due.

    The server has seen to the waiting when a message comes again, unless whoever got it first died before putting it
    back, or the server did, after which it gives it out at once. Then clocks must do, this machine's and the server's;
    and if these differ much, not for ever.
    """
    headers = token.received.headers or {}
    try:
        delay = min(max(0.0, float(headers.get(DELAY, 0))), 86_400.0)
    except ValueError:
        return 0.0
    where = token.received.metadata
    if where.num_delivered == 1:
        return delay
    waited = time.time() - where.timestamp.timestamp()
    early = waited < delay - CLOCKS_APART and where.num_delivered <= 3
    return min(delay, delay - waited) if early else 0.0
