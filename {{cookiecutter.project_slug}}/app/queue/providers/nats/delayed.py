# The template's: an update changes it. Which files are yours: README.md.
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

from nats.aio.msg import Msg

from app.queue.broker.leases import Lease
from app.queue.broker.shortening import fitting
from app.queue.errors import DeliveryLostError
from app.queue.interfaces import Message, Place
from app.queue.messages.message import undivided_name
from app.queue.providers.nats.config import NatsQueueConfig, stream_name
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.leases import NatsLeases, Pull
from app.queue.providers.nats.messages import DELAY, moved_as, to_message
from app.queue.providers.nats.put import put

logger = logging.getLogger(__name__)

AT_A_TIME = 100
CLOCKS_APART = 0.1  # seconds by which a message may look early because two clocks differ
AGAIN_AFTER = 2.0  # seconds until a message is tried again that its queue did not take


class Delayed:
    """Moves the delayed messages of one queue back to it. All instances of the service do so, side by side."""

    def __init__(self, connection: NatsConnection, config: NatsQueueConfig, on_end: Callable[[str], None]) -> None:
        self._queue = config.name
        self._timeout = config.publish_timeout
        self._leases = NatsLeases(connection, stream_name(undivided_name(config.name, Place.RETRY)), config)
        self._pull = Pull(self._leases, AT_A_TIME, self._on_message, on_end)
        self._pull.start()
        self._moving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End: what is being moved is moved, or comes again."""
        await self._pull.close()
        if self._moving:
            await asyncio.wait(self._moving)
        await self._leases.close()

    def _on_message(self, lease: Lease[Msg]) -> None:
        task = asyncio.get_running_loop().create_task(self._settle(lease))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _settle(self, lease: Lease[Msg]) -> None:
        rest = left_to_wait(lease.received)
        if rest > 0:
            await lease.put_back(rest)
            return
        message, _ = to_message(lease.received)

        async def putting(variant: Message) -> None:
            await put(self._leases.connection, self._queue, variant, moved_as(lease.received))

        try:
            async with asyncio.timeout(self._timeout):
                await fitting(message, putting)
                await self._leases.ack(lease)
        except DeliveryLostError:
            pass  # it comes again, and is known to the queue's stream
        except Exception as error:  # noqa: BLE001 - told; else its lease would be kept for ever
            logger.warning("%s: message %s can't be tried again now: %s", self._queue, message.message_id, error)
            await lease.put_back(AGAIN_AFTER)


def left_to_wait(received: Msg) -> float:
    """Seconds until a delayed message is due.

    The server has seen to the waiting when it comes again, unless who got it first died before putting it back, or the
    server did. Then clocks must do, this machine's and the server's; and if these differ much, not for ever.
    """
    headers = received.headers or {}
    try:
        delay = min(max(0.0, float(headers.get(DELAY, 0))), 86_400.0)
    except ValueError:
        return 0.0
    where = received.metadata
    if where.num_delivered == 1:
        return delay
    waited = time.time() - where.timestamp.timestamp()
    early = waited < delay - CLOCKS_APART and where.num_delivered <= 3
    return min(delay, delay - waited) if early else 0.0
