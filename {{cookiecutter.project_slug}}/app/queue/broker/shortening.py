# The template's: an update changes it. Which files are yours: README.md.
"""What a move leaves out: orders to the broker that a message carries, and what makes it too large for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from app.queue.errors import MessageTooLargeError
from app.queue.messages.encoding import encoding_headers
from app.queue.messages.headers import DROPPED, MAX_TEXT, cut, cut_head, own_headers
from app.queue.messages.message import Message

SHORT = 200  # bytes that are left of a text of ours in the first stages
TEXTS = frozenset({"dlq-traceback", "dlq-exception-message", "dlq-exception-type"})


def without(message: Message, orders: Iterable[str], marks: Collection[str] = ()) -> Message:
    """The message without these headers, by which a broker does something instead of carrying them.

    Whoever published it gave that order once. Obeyed again with every move, it would route a copy elsewhere each time,
    make a dead letter expire, or empty a stream. DROPPED names the `orders`, which may be properties, too; not the
    `marks`, which the broker itself has made.
    """
    orders = sorted(set(orders))
    if not orders and not marks:
        return message
    kept = {name: value for name, value in message.headers.items() if name not in orders and name not in marks}
    return replace(message, headers=naming(message.headers, kept, orders, MAX_TEXT) if orders else kept)


async def fitting(message: Message, putting: Callable[[Message], Awaitable[None]]) -> None:
    """Put the message, shortened as much as need be. Raises MessageTooLargeError if even its last variant is."""
    error: MessageTooLargeError | None = None
    for variant in shorter(message):
        try:
            return await putting(variant)
        except MessageTooLargeError as too_large:
            error = too_large
    assert error is not None
    raise error


def shorter(message: Message) -> Iterator[Message]:
    """The message as it is, and then with less and less; what decides about it stays. None is ever made in vain.

    First the traceback goes, then the error's text, then all headers that are neither ours nor needed to read the
    body. DROPPED names what is left out.
    """
    yield message
    headers = dict(message.headers)
    if "dlq-traceback" in headers:
        headers["dlq-traceback"] = cut_head(str(headers["dlq-traceback"]), SHORT)
        yield replace(message, headers=dict(headers))
    if "dlq-exception-message" in headers:
        headers["dlq-exception-message"] = cut(str(headers["dlq-exception-message"]), SHORT)
        yield replace(message, headers=dict(headers))
    ours = own_headers(headers) | encoding_headers(headers)
    if len(ours) < len(headers) or message.properties is not None:
        names = [name for name in headers if name not in ours]
        yield replace(message, headers=naming(headers, ours, names, MAX_TEXT), properties=None)
    # At last all but the counts and the reason: they decide what becomes of it.
    least = {name: value for name, value in ours.items() if name not in TEXTS}
    yield replace(message, headers=naming(headers, least, [], SHORT // 4), properties=None)


def naming(headers: Mapping[str, Any], kept: Mapping[str, Any], dropped: list[str], size: int) -> dict[str, Any]:
    """Those that are kept, and the names of what was dropped, now and before, each once."""
    earlier = headers.get(DROPPED)
    names = earlier.split(", ") if isinstance(earlier, str) and earlier else []
    names += [short for name in dropped if (short := cut(name, 100)) not in names]
    return {**kept, DROPPED: cut(", ".join(names) or "the text of the error", size)}
