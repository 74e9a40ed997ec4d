# The template's: an update changes it. Which files are yours: README.md.
"""The one seam for what goes around handling a delivery, or around publishing a message.

A middleware is an async function that calls the next one, or does not:

    async def timed(delivery: Delivery, call_next: HandleNext) -> Outcome:
        started = time.perf_counter()
        outcome = await call_next(delivery)
        logger.info("%s took %.3f s", delivery.message.message_id, time.perf_counter() - started)
        return outcome

    async def stamped(queue: str, message: Message, call_next: PublishNext) -> None:
        await call_next(queue, replace(message, headers={**message.headers, "stamp": "ours"}))

The handler's exception is in `outcome.error`; the outcome that comes out of the chain is what happens to the delivery.
A middleware that needs something open (a pool, a client) is an async context manager, which each event loop makes for
itself: such things belong to the loop that opened them, and the consumers and HTTP have several.

    class Deduplicated:
        async def __aenter__(self) -> Self:
            self.pool = await asyncpg.create_pool(URL)
            return self

        async def __aexit__(self, *_: object) -> None:
            await self.pool.close()

        async def __call__(self, delivery: Delivery, call_next: HandleNext) -> Outcome: ...

Middleware is given to `queue_lifespan()` in `main.py`; the first in the list is the outermost:

    queue_lifespan(handle_middleware=[timed, per_loop(Deduplicated)], publish_middleware=[stamped])
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from app.queue.errors import ConfigError
from app.queue.messages.message import Delivery, Message
from app.queue.messages.outcome import Action, Outcome

HandleNext = Callable[[Delivery], Awaitable[Outcome]]
HandleMiddleware = Callable[[Delivery, HandleNext], Awaitable[Outcome]]
PublishNext = Callable[[str, Message], Awaitable[None]]
PublishMiddleware = Callable[[str, Message, PublishNext], Awaitable[None]]
Middleware_co = TypeVar("Middleware_co", covariant=True)


@dataclass(frozen=True, slots=True)
class PerLoop(Generic[Middleware_co]):
    """A middleware that every event loop makes, opens and closes for itself. `per_loop()` makes one of these."""

    make: Callable[[], AbstractAsyncContextManager[Middleware_co]]

    @property
    def name(self) -> str:
        """What it is called in the log and in `/health/queue`."""
        return name_of(self.make)


def per_loop(make: Callable[[], AbstractAsyncContextManager[Middleware_co]]) -> PerLoop[Middleware_co]:
    """A middleware that is opened on each event loop before its first message, and closed in the drain.

    `make` is called without arguments, once for each loop and each try to open it: a class, or
    `lambda: Deduplicated(url)`, or a function with `@asynccontextmanager` that yields the middleware. Opening that
    fails is tried again; until it works, the queues of that loop are not consumed, and `/health/queue` says why.
    """
    return PerLoop(make)


def check_middleware(middleware: Sequence[Any]) -> None:
    """Raise ConfigError for what would fail only when the first message comes."""
    for item in middleware:
        if isinstance(item, PerLoop):
            continue
        name = name_of(item)
        if isinstance(item, type) or hasattr(item, "__aenter__"):
            raise ConfigError(
                f"the middleware {name} has to be made once for each event loop: write per_loop({name}), or "
                f"per_loop(lambda: {name}(...)); per_loop is in app.queue.middleware"
            )
        if not callable(item):
            raise ConfigError(f"a middleware must be an async function, not {item!r}")


def wrap_handling(middleware: Sequence[HandleMiddleware], innermost: HandleNext) -> HandleNext:
    """`innermost` with all of `middleware` around it."""
    for function in reversed(middleware):
        innermost = partial(_call_handle, function, innermost)
    return innermost


def wrap_publishing(middleware: Sequence[PublishMiddleware], innermost: PublishNext) -> PublishNext:
    """`innermost` with all of `middleware` around it."""
    for function in reversed(middleware):
        innermost = partial(_call_publish, function, innermost)
    return innermost


async def _call_handle(function: HandleMiddleware, call_next: HandleNext, delivery: Delivery) -> Outcome:
    outcome = await function(delivery, call_next)
    if not isinstance(outcome, Outcome):
        raise TypeError(f"the middleware {name_of(function)} must return the outcome, not {type(outcome).__name__}")
    if outcome.action is Action.DEAD_LETTER and outcome.reason is None:
        raise TypeError(
            f"the middleware {name_of(function)} must say why the message is dead: Outcome(..., reason=...)"
        )
    return outcome


def _call_publish(function: PublishMiddleware, call_next: PublishNext, queue: str, message: Message) -> Awaitable[Any]:
    return function(queue, message, call_next)


def name_of(function: Any) -> str:
    """The name of a function or class; of anything else, that of its class."""
    named = function.func if isinstance(function, partial) else function
    return str(getattr(named, "__name__", type(named).__name__))
