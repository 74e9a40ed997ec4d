"""QueueCircuitBreaker: pybreaker, made fit for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import pybreaker

from app.queue.config import CircuitBreakerConfig
from app.queue.errors import CircuitOpenError, MessageTooLargeError, UnroutableError
from app.queue.interfaces import BreakerState

Result = TypeVar("Result")


class QueueCircuitBreaker:
    """After `fail_max` failures in a row, calls fail at once for `reset_timeout` seconds; then one may try.

    pybreaker keeps the count and the state. Three things it leaves to its user when calls are coroutines: a half-open
    breaker lets only one through; a cancelled call is neither a success nor a failure; and what says nothing against
    the broker (a queue that isn't there, a message that is too large) does not count.
    """

    def __init__(self, config: CircuitBreakerConfig, name: str) -> None:
        self._name = name
        self._reset_timeout = config.reset_timeout
        self._opened_at = 0.0
        self._probing = False
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=config.fail_max,
            reset_timeout=config.reset_timeout,
            exclude=[asyncio.CancelledError, UnroutableError, MessageTooLargeError],
            throw_new_error_on_trip=False,
            name=name,
            listeners=[_OpeningListener(self._note_opening)],
        )

    def _note_opening(self) -> None:
        self._opened_at = time.monotonic()

    @property
    def state(self) -> BreakerState:
        """`closed`, `open` or `half-open`."""
        return cast("BreakerState", self._breaker.current_state)

    def retry_after(self) -> float:
        """Seconds until the next call may be tried; 0 if now."""
        if self.state == "closed":
            return 0.0
        return max(0.0, self._opened_at + self._reset_timeout - time.monotonic())

    def reset(self) -> None:
        """Close the breaker: the link to the broker is there again."""
        if self.state != "closed":
            self._breaker.close()

    async def call(self, function: Callable[..., Awaitable[Result]], *args: Any) -> Result:
        """Await `function(*args)` through the breaker. Raises CircuitOpenError if it is open, or what it raises."""
        probe = self.state != "closed"
        if probe and self._probing:
            raise self._open_error()
        self._probing = self._probing or probe
        try:
            with self._breaker.calling():
                return await function(*args)
        except pybreaker.CircuitBreakerError:
            raise self._open_error() from None
        except asyncio.CancelledError:
            if probe and self.state == "closed":  # pybreaker took the cancelled probe for a success
                self._breaker.open()
            raise
        finally:
            if probe:
                self._probing = False

    def _open_error(self) -> CircuitOpenError:
        return CircuitOpenError(
            f"{self._name}: the circuit breaker is open, because the last publishes failed; nothing was sent",
            retry_after=self.retry_after() or 1.0,
        )


class _OpeningListener(pybreaker.CircuitBreakerListener):
    def __init__(self, on_open: Callable[[], None]) -> None:
        self._on_open = on_open

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,  # noqa: ARG002 - pybreaker's signature
        old_state: pybreaker.CircuitBreakerState | None,  # noqa: ARG002
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        if new_state.name == pybreaker.STATE_OPEN:
            self._on_open()
