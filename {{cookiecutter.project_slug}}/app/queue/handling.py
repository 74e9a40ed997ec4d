# The template's: an update changes it. Which files are yours: README.md.
"""What a handler module imports: `Reject`, `message_type`, `current_delivery`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
TYPE_ATTRIBUTE = "__message_type__"


class Reject(Exception):  # noqa: N818 - it reads as what the handler does, not as what went wrong
    """Raise it in a handler: this message can never succeed. It goes to the dead-letter queue at once, unretried."""


def message_type(name: str) -> Callable[[Function], Function]:
    """Name the message type that a method handles, where it is not the method's own name (`order.created`)."""

    def mark(function: Function) -> Function:
        setattr(function, TYPE_ATTRIBUTE, name)
        return function

    return mark


class DeliveryInfo(NamedTuple):
    """What a handler may want to know of the message it is handling.

    Attributes:
        queue: the queue's name.
        message_id: the same in every attempt, so that a repeat can be recognised.
        attempt: 1 for the first.
        headers: the message's, read only.
    """

    queue: str
    message_id: str
    attempt: int
    headers: Mapping[str, Any]


_current: ContextVar[DeliveryInfo] = ContextVar("current_delivery")


def current_delivery() -> DeliveryInfo:
    """The message that is being handled, in the handler or in anything it calls. Raises LookupError elsewhere."""
    try:
        return _current.get()
    except LookupError:
        raise LookupError("current_delivery() was called outside of a handler") from None


def set_current_delivery(info: DeliveryInfo) -> None:
    """For the core: what `current_delivery()` answers in this task from now on."""
    _current.set(info)


@contextmanager
def as_current_delivery(info: DeliveryInfo) -> Iterator[None]:
    """For the core: what `current_delivery()` answers inside."""
    token = _current.set(info)
    try:
        yield
    finally:
        _current.reset(token)
