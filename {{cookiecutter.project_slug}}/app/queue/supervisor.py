"""One code path that starts a link and starts it again, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import tenacity

from app.queue.errors import BrokerError, BrokerRefusedError
from app.queue.interfaces import Link

logger = logging.getLogger(__name__)

STABLE_AFTER = 5.0
"""Seconds after which a link counts as good, so that its loss is answered without delay."""
CLOSE_TIMEOUT = 5.0
# Jitter everywhere, so that a thousand services don't come back to a broker in the same moment.
_unreachable_wait = tenacity.wait_random_exponential(multiplier=0.2, max=2.0)
_refused_wait = tenacity.wait_random(10.0, 15.0)


class Supervisor:
    """Keeps a link open.

    Attributes:
        detail: why the link is not open now, in words; None while it is.
    """

    def __init__(self, link: Link, name: str) -> None:
        self._link = link
        self._name = name
        self.detail: str | None = "not connected yet"

    async def run(self) -> None:
        """Open the link, wait until it is lost, and begin again, until cancelled. Closes it then."""
        try:
            while True:
                await self.until_it_works(self._link.open)
                opened_at = time.monotonic()
                self.detail = None
                logger.info("%s: connected", self._name)
                try:
                    self.detail = await self._link.lost()
                    logger.warning("%s: %s; connecting again", self._name, self.detail)
                except Exception as error:
                    self.detail = _said(error)
                    logger.exception("%s: failed; connecting again", self._name)
                stable = time.monotonic() - opened_at > STABLE_AFTER
                await asyncio.sleep(random.uniform(0.0, 0.2) if stable else random.uniform(0.5, 1.5))  # noqa: S311
        finally:
            await self._close()

    async def until_it_works(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Await `function(*args)` again and again, with backoff, until it does not raise."""
        trying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Exception), wait=_wait, before_sleep=self._note_failure
        )
        await trying(function, *args)

    async def _close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._link.close()

    def _note_failure(self, state: tenacity.RetryCallState) -> None:
        error = _error(state)
        self.detail = _said(error)
        delay = state.next_action.sleep if state.next_action else 0.0
        # Not the broker's doing, so where it went wrong is worth a look: once.
        shown = None if isinstance(error, BrokerError) or state.attempt_number > 1 else error
        logger.warning("%s: %s; trying again in %.1f s", self._name, self.detail, delay, exc_info=shown)


def _wait(state: tenacity.RetryCallState) -> float:
    """A wrong password is not right two seconds later; a broker that restarts may be back."""
    wait = _refused_wait if isinstance(_error(state), BrokerRefusedError) else _unreachable_wait
    return wait(state)


def _said(error: BaseException | None) -> str:
    """A broker's error in its own words; any other with its type, since `'host'` says little for a KeyError."""
    if isinstance(error, BrokerError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
