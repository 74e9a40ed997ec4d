# The template's: an update changes it. Which files are yours: README.md.
"""What is tried until it works, and the one code path that opens a link, and opens it again when it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, TypeVar

import tenacity

from app.queue.clock import chance, now
from app.queue.errors import BrokerError, BrokerRefusedError
from app.queue.foreign_code import ends_task
from app.queue.instrumentation.events import LinkLost, LinkOpened, emit
from app.queue.interfaces import Link
from app.queue.messages.headers import describe

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

STABLE_AFTER = 5.0  # seconds after which a link counts as good, so that its loss is answered without delay
CLOSE_TIMEOUT = 5.0  # seconds for which the end of a service waits for a link, or for all of one loop


class Trying:
    """Tries with backoff, for as long as it takes."""

    def __init__(self, name: str, detail: str) -> None:
        self.name = name  # what is tried, for the log
        self.detail: str | None = detail  # why it does not work now, in words; None once it does

    async def until_it_works(self, function: Callable[..., Awaitable[Result]], *args: object) -> Result:
        """Await `function(*args)` again and again until it does not raise. Returns what it returns."""
        trying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Exception), wait=_wait, before_sleep=self._note_failure
        )
        return await trying(_as_exception, function, *args)

    def _note_failure(self, state: tenacity.RetryCallState) -> None:
        error = _error(state)
        self.detail = shown_in_health(error)
        delay = state.next_action.sleep if state.next_action else 0.0
        # Not the broker's doing, so where it went wrong is worth a look: once.
        shown = None if isinstance(error, BrokerError) or state.attempt_number > 1 else error
        logger.warning("%s: %s; trying again in %.1f s", self.name, said(error), delay, exc_info=shown)


async def _as_exception(function: Callable[..., Awaitable[Result]], *args: object) -> Result:
    """Await it. What is raised that is no Exception (a SystemExit) becomes one: it ends no more than this try."""
    try:
        return await function(*args)
    except Exception:
        raise
    except BaseException as error:
        if ends_task(error):
            raise
        raise RuntimeError(f"it raised {said(error)}") from error


def said(error: BaseException | None) -> str:
    """A broker's error in its own words; any other with its type, since `'host'` says little for a KeyError."""
    if isinstance(error, BrokerError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {'' if error is None else describe(error)}".removesuffix(": ")


def shown_in_health(error: BaseException | None) -> str:
    """The same for everybody to see: what code of the user's raised may have a password in it."""
    return said(error) if isinstance(error, BrokerError) else f"{type(error).__name__}; the log says more"


def _wait(state: tenacity.RetryCallState) -> float:
    """A wrong password is not right two seconds later; a broker that restarts may be back.

    With jitter, so that a thousand services don't come back to a broker in the same moment.
    """
    if isinstance(_error(state), BrokerRefusedError):
        return chance.uniform(10.0, 15.0)
    return chance.uniform(0.0, min(2.0, 0.2 * 2 ** min(state.attempt_number - 1, 10)))


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


class Supervisor(Trying):
    """Keeps the link of a queue's consumer or publisher open, and tells the listeners when it opens and is lost."""

    def __init__(self, link: Link, what: Literal["consumer", "publisher"]) -> None:
        super().__init__(f"{what} of {link.queue_name!r}", "not connected yet")
        self._link = link
        self._what = what

    async def run(self) -> None:
        """Open the link, wait until it is lost, and begin again, until cancelled. Closes it then."""
        try:
            while True:
                await self.until_it_works(self._link.open)
                opened_at = now()
                self.detail = None
                logger.info("%s: connected", self.name)
                emit(LinkOpened(self._link.queue_name, self._what))
                try:
                    why = self.detail = await self._link.lost()
                    logger.warning("%s: %s; connecting again", self.name, why)
                except BaseException as error:
                    if ends_task(error):
                        raise
                    why, self.detail = said(error), shown_in_health(error)
                    logger.exception("%s: failed; connecting again", self.name)
                emit(LinkLost(self._link.queue_name, self._what, why))
                stable = now() - opened_at > STABLE_AFTER
                await asyncio.sleep(chance.uniform(0.0, 0.2) if stable else chance.uniform(0.5, 1.5))
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._link.close()
