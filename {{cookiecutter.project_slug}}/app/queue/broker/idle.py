# The template's: an update changes it. Which files are yours: README.md.
"""Idle: a consumer to which nothing comes for a while is registered anew, for the broker may have forgotten it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.queue.clock import now
from app.queue.errors import BrokerError

logger = logging.getLogger(__name__)


async def whenever_idle(
    queue: str, busy: Callable[[], int | None], renew: Callable[[], Awaitable[None]], look_every: float, after: float
) -> None:
    """Await `renew` whenever `busy` has said the same number for `after` seconds; None is not idle. Until cancelled."""
    said, busy_at = busy(), now()
    while True:
        await asyncio.sleep(look_every)
        if (number := busy()) is None or number != said:
            said, busy_at = number, now()
        elif now() - busy_at > after:
            busy_at = now()
            try:
                await renew()
            except BrokerError as error:
                logger.warning("%s: %s", queue, error)
            except Exception:
                logger.exception("%s: registering anew failed", queue)
