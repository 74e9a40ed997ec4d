# The template's: an update changes it. Which files are yours: README.md.
"""QueueCircuitBreaker: pybreaker, made fit for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal, TypeVar, cast

import pybreaker

from app.queue.clock import now
from app.queue.errors import BrokerError, CircuitOpenError, MessageTooLargeError, UnroutableError
from app.queue.settings.queues import CircuitBreakerConfig

Result = TypeVar("Result")
State = Literal["closed", "open", "half-open"]


class QueueCircuitBreaker:
    """After `fail_max` failures in a row, calls fail at once for `reset_timeout` seconds; then one may try.

    pybreaker keeps the count and the state. It is told how a call ended, rather than put around it, because a coroutine
    has ends that it does not know: a cancelled call is neither a success nor a failure, and one that began before the
    breaker opened says nothing about now. A half-open breaker lets only one call through. What says nothing against
    the broker (a queue that isn't there, an error of the caller's) does not count.
    """

    def __init__(self, config: CircuitBreakerConfig, name: str) -> None:
        self._name = name
        self._reset_timeout = config.reset_timeout
        self._opened_at = 0.0
        self._probing = False
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=config.fail_max,
            reset_timeout=config.reset_timeout,
            exclude=[_says_nothing],
            throw_new_error_on_trip=False,
            name=name,
        )

    @property
    def state(self) -> State:
        """Whether calls go through: when closed all, when open none, when half-open one, to try."""
        return cast("State", self._breaker.current_state)

    def retry_after(self) -> float:
        """Seconds until the next call may be tried; 0 if now."""
        if self.state != "open":
            return 0.0
        return max(0.0, self._opened_at + self._reset_timeout - now())

    def reset(self) -> None:
        """Close the breaker: the link to the broker is there again."""
        if self.state != "closed":
            self._breaker.close()

    async def call(self, function: Callable[..., Awaitable[Result]], *args: Any) -> Result:
        """Await `function(*args)` through the breaker. Raises CircuitOpenError if it is open, or what it raises."""
        probe = self._admit()
        try:
            result = await function(*args)
        except Exception as error:
            self._record(error, probe=probe)
            raise
        else:
            if probe or self._breaker.fail_counter:  # pybreaker has nothing to learn from the others
                self._record(None, probe=probe)
            return result
        finally:
            if probe:
                self._probing = False

    def _admit(self) -> bool:
        """True if the call is the probe. Raises CircuitOpenError if it must not be made."""
        if self.state == "closed":
            return False
        if self._probing or self.retry_after() > 0:
            raise CircuitOpenError(
                f"{self._name}: the circuit breaker is open, because the last publishes failed; nothing was sent",
                retry_after=self.retry_after() or 1.0,
            )
        self._probing = True
        self._breaker.half_open()
        return True

    def _record(self, error: Exception | None, *, probe: bool) -> None:
        if self.state == ("half-open" if probe else "closed"):
            with suppress(Exception):  # pybreaker raises the error again
                self._breaker.call(_end, error)
            if self._breaker.current_state == pybreaker.STATE_OPEN:
                self._opened_at = now()


def _says_nothing(error: BaseException) -> bool:
    return not isinstance(error, BrokerError) or isinstance(error, UnroutableError | MessageTooLargeError)


def _end(error: Exception | None) -> None:
    if error is not None:
        raise error
