# The template's: an update changes it. Which files are yours: README.md.
"""Delayed: moves what has waited long enough for its next attempt back to its stream.

It waits in a sorted set by the time at which it is due, by the server's clock. All instances look, side by side, since
the server moves each message once.
"""

from __future__ import annotations

import asyncio
import logging
import random

import redis.exceptions as redis

from app.queue.errors import BrokerUnavailableError
from app.queue.interfaces import Place
from app.queue.messages.message import undivided_name
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.errors import said
from app.queue.providers.redis.scripts import MOVE_DUE
from app.queue.time_limit import until

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between looks, for another instance may have died that put something there
AT_A_TIME = 100
BYTES_AT_A_TIME = 4 * 1_048_576  # Redis does nothing else meanwhile
AGAIN_AFTER = 2.0  # seconds until the next try, where the queue took nothing


class Delayed:
    """Looks whenever something is due that it knows of, and every second."""

    def __init__(self, client: RedisClient, queue: str, put: asyncio.Event) -> None:
        self._client = client
        self._queue = queue
        self._put = put
        self._task = asyncio.create_task(self._move_on())

    async def close(self) -> None:
        """End. A look is all or nothing, so it need not be waited for."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _move_on(self) -> None:
        keys = [undivided_name(self._queue, Place.RETRY), self._queue]
        while self._client.is_open:
            self._put.clear()
            try:
                moved, next_due = await self._client.run(MOVE_DUE, keys, [AT_A_TIME, BYTES_AT_A_TIME])
            except BrokerUnavailableError:
                return
            except (redis.ResponseError, TimeoutError) as error:
                logger.warning("%s: what waits for its retry can't be moved now: %s", self._queue, said(error))
                await asyncio.sleep(AGAIN_AFTER)
                continue
            if moved == AT_A_TIME:
                continue
            wait = LOOK_EVERY * random.uniform(0.9, 1.1)  # noqa: S311
            if next_due >= 0:
                wait = min(wait, next_due / 1000 + 0.001)
            await until(self._put, wait)
