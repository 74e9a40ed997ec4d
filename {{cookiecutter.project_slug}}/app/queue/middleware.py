"""The one seam for what goes around handling a delivery, or around publishing a message.

A middleware is an async function that calls the next one, or does not:

    async def timed(delivery: Delivery, call_next: HandleNext) -> Outcome:
        started = time.perf_counter()
        outcome = await call_next(delivery)
        logger.info("%s took %.3f s", delivery.message.message_id, time.perf_counter() - started)
        return outcome

The handler's exception is in `outcome.error`; the outcome that comes out of the chain is what happens to the delivery.
Middleware is given to `queue_lifespan()` in `main.py`; the first in the list is the outermost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from app.queue.interfaces import Delivery, Message
from app.queue.policy import Outcome

HandleNext = Callable[[Delivery], Awaitable[Outcome]]
HandleMiddleware = Callable[[Delivery, HandleNext], Awaitable[Outcome]]
PublishNext = Callable[[str, Message], Awaitable[None]]
PublishMiddleware = Callable[[str, Message, PublishNext], Awaitable[None]]


def around_handling(middleware: Sequence[HandleMiddleware], innermost: HandleNext) -> HandleNext:
    """`innermost` with all of `middleware` around it."""
    for function in reversed(middleware):
        innermost = partial(_call_handle, function, innermost)
    return innermost


def around_publishing(middleware: Sequence[PublishMiddleware], innermost: PublishNext) -> PublishNext:
    """`innermost` with all of `middleware` around it."""
    for function in reversed(middleware):
        innermost = partial(_call_publish, function, innermost)
    return innermost


async def _call_handle(function: HandleMiddleware, call_next: HandleNext, delivery: Delivery) -> Outcome:
    outcome = await function(delivery, call_next)
    if not isinstance(outcome, Outcome):
        raise TypeError(f"the middleware {function.__name__} must return the outcome, not {type(outcome).__name__}")
    return outcome


def _call_publish(function: PublishMiddleware, call_next: PublishNext, queue: str, message: Message) -> Awaitable[Any]:
    return function(queue, message, call_next)
