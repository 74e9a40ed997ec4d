"""The headers that this service writes into messages. Version 1 of the format; `docs/` describes it.

While a message is alive it carries what has to survive a restart: `queue-attempts`, `queue-crashes`, `queue-returns`
and `queue-first-failed-at`. In the dead-letter queue it also carries why it is there, as `dlq-*`. No name begins with
`x-`, because brokers rewrite those. Whatever a foreign publisher puts in their place is read with suspicion.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.queue.interfaces import Message

VERSION = 1
ATTEMPTS = "queue-attempts"
CRASHES = "queue-crashes"
RETURNS = "queue-returns"
FIRST_FAILED_AT = "queue-first-failed-at"
REASON = "dlq-reason"
DROPPED = "dlq-dropped-headers"
OWN = frozenset(
    {
        *(ATTEMPTS, CRASHES, RETURNS, FIRST_FAILED_AT, REASON, DROPPED),
        *("dlq-version", "dlq-queue", "dlq-attempts", "dlq-first-failed-at", "dlq-last-failed-at"),
        *("dlq-exception-type", "dlq-exception-message", "dlq-traceback"),
    }
)
BROKERS = ("x-death", "x-first-death", "x-last-death", "x-delivery-count", "x-acquired-count")

MAX_TEXT = 1_000
MAX_TRACEBACK = 4_000
MAX_FOREIGN = 64 * 1024
"""Bytes of foreign headers that are passed on. RabbitMQ closes the connection above 128 KiB of headers in all."""


@dataclass(frozen=True, slots=True)
class History:
    """What a message has been through.

    Attributes:
        attempts: handler calls that failed since it was published or last came back from the dead-letter queue.
        crashes: times in a row that it was in hand when a consumer vanished.
        returns: times it came back from the dead-letter queue.
        first_failed_at: ISO 8601, or "" if it never failed.
    """

    attempts: int = 0
    crashes: int = 0
    returns: int = 0
    first_failed_at: str = ""


FRESH = History()


def history(message: Message) -> History:
    """Read a message's history. What isn't a small non-negative integer counts as 0."""
    headers = message.headers
    if not headers:
        return FRESH
    first = headers.get(FIRST_FAILED_AT)
    return History(
        attempts=_count(headers.get(ATTEMPTS)),
        crashes=_count(headers.get(CRASHES)),
        returns=_count(headers.get(RETURNS)),
        first_failed_at=first if isinstance(first, str) and len(first) <= MAX_TEXT else "",
    )


def with_history(message: Message, past: History) -> Message:
    """`message` as it travels on: with this history, without the headers of brokers and of an earlier death."""
    headers = _passed_on(message.headers)
    for name, value in ((ATTEMPTS, past.attempts), (CRASHES, past.crashes), (RETURNS, past.returns)):
        if value:
            headers[name] = value
    if past.first_failed_at:
        headers[FIRST_FAILED_AT] = past.first_failed_at
    return Message(message.body, message.message_id, headers, message.properties)


def within_limits(message: Message) -> Message:
    """`message` as it is, except that no header of it is larger than a broker takes."""
    own = {
        name: cut(value, MAX_TRACEBACK) for name, value in own_headers(message.headers).items() if type(value) is str
    }
    numbers = {name: value for name, value in own_headers(message.headers).items() if type(value) is int}
    headers = {**_passed_on(message.headers), **numbers, **own}
    return Message(message.body, message.message_id, headers, message.properties)


def with_failure(
    message: Message, past: History, *, queue: str, reason: str, error: BaseException | None = None
) -> Message:
    """`message` as it goes to the dead-letter queue: why, how often, since when. About 6 kB at most."""
    now = timestamp()
    message = with_history(message, past)
    headers = {
        **message.headers,
        "dlq-version": VERSION,
        REASON: str(reason),  # a plain text on every provider, not an enumeration on the one that keeps objects
        "dlq-queue": queue,
        "dlq-attempts": past.attempts,
        "dlq-first-failed-at": past.first_failed_at or now,
        "dlq-last-failed-at": now,
    }
    if error is not None:
        kind = type(error)
        headers["dlq-exception-type"] = cut(f"{kind.__module__}.{kind.__qualname__}", MAX_TEXT)
        headers["dlq-exception-message"] = cut(describe(error), MAX_TEXT)
        headers["dlq-traceback"] = cut_head(_traceback(error), MAX_TRACEBACK)
    return Message(message.body, message.message_id, headers, message.properties)


def own_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Those headers that this service wrote."""
    return {name: value for name, value in headers.items() if name in OWN}


def dead_letter_reason(message: Message) -> str:
    """Why a message is in the dead-letter queue, or "" if this service did not put it there."""
    reason = message.headers.get(REASON)
    return reason if isinstance(reason, str) else ""


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def describe(error: BaseException) -> str:
    """`str(error)`, also where that fails."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may do anything
        return "(its text could not be read)"


def cut(text: str, size: int) -> str:
    """The first `size` bytes of `text` in UTF-8, in whole characters."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= size else data[: size - 3].decode("utf-8", "ignore") + "..."


def cut_head(text: str, size: int) -> str:
    """The last `size` bytes of `text`: a traceback tells most at its end."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= size else "..." + data[3 - size :].decode("utf-8", "ignore")


def _traceback(error: BaseException) -> str:
    try:
        # A text of megabytes is cut before it is rendered: `limit` bounds the frames, `compact` the locals.
        shown = traceback.TracebackException.from_exception(error, limit=-20, compact=True)
        return "".join(shown.format())
    except Exception:  # noqa: BLE001 - as in describe()
        return ""


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 1_000_000 else 0


def _passed_on(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Without ours (they are written anew), without the broker's x-death and the like, and not too large."""
    kept = {name: value for name, value in headers.items() if name not in OWN and not name.startswith(BROKERS)}
    sizes = {name: len(name) + _size(value) for name, value in kept.items()}
    total = sum(sizes.values())
    dropped: list[str] = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= MAX_FOREIGN:
            break
        total -= sizes[name]
        del kept[name]
        dropped.append(cut(name, 100))
    if dropped:
        kept[DROPPED] = cut(", ".join(dropped), MAX_TEXT)
    elif isinstance(earlier := headers.get(DROPPED), str):
        kept[DROPPED] = cut(earlier, MAX_TEXT)
    return kept


def _size(value: Any) -> int:
    """About how many bytes a header's value takes on the wire."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace")) + 5
    if isinstance(value, bytes | bytearray):
        return len(value) + 5
    if isinstance(value, Mapping):
        return 5 + sum(len(str(name)) + _size(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return 5 + sum(_size(item) for item in value)
    return 9
