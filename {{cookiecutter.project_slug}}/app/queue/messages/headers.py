# The template's: an update changes it. Which files are yours: README.md.
"""The headers that this service writes into messages. Version 1 of the format; `docs/messages.md` describes it.

What has to survive a restart is in `queue-*`, why a message is dead, in `dlq-*`. No name begins with `x-`, because
brokers rewrite those. What a foreign publisher puts in their place is read with suspicion. Their text is bounded.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from app.queue.messages.message import Message

VERSION = 1
ATTEMPTS = "queue-attempts"
CRASHES = "queue-crashes"
REPLAYS = "queue-replays"
OLD_REPLAYS = "queue-returns"  # REPLAYS before the first release: only read, and dropped with the next
MOVES = "queue-moves"
FIRST_FAILED_AT = "queue-first-failed-at"
REASON = "dlq-reason"
DROPPED = "dlq-dropped-headers"
OWN = frozenset(
    {
        *(ATTEMPTS, CRASHES, REPLAYS, OLD_REPLAYS, MOVES, FIRST_FAILED_AT, REASON, DROPPED),
        *("dlq-version", "dlq-queue", "dlq-attempts", "dlq-first-failed-at", "dlq-last-failed-at"),
        *("dlq-exception-type", "dlq-exception-message", "dlq-traceback"),
    }
)

MAX_COUNT = 1_000_000  # what a counter of ours never reaches. A header that says more is not ours
MAX_TEXT = 1_000
MAX_TRACEBACK = 4_000
MAX_FOREIGN = 64 * 1024  # bytes of foreign headers that are passed on: above 128 KiB in all, RabbitMQ ends the link
DEEPEST = 100  # tables and lists in one another. What is deeper can't be read or written again: libraries recurse
TOO_LARGE = 2**40  # bytes that no broker takes


@dataclass(frozen=True, slots=True)
class History:
    """What a message has been through."""

    # Handler calls that failed, outside of a pause, since it was published or last came back from the DLQ.
    attempts: int = 0
    crashes: int = 0  # times in a row that it was in flight when a consumer died
    replays: int = 0  # times it came back from the dead-letter queue
    first_failed_at: str = ""  # ISO 8601, or "" if it never failed
    # Times it was put into another place. `with_history()` counts them, whatever it is given: so a message never comes
    # twice with the same history, unless somebody copied it.
    moves: int = 0

    @property
    def has_failed(self) -> bool:
        """True if a handler call of it failed once, whenever that was."""
        return bool(self.attempts or self.replays or self.first_failed_at)


FRESH = History()


def one_move_later(history: History) -> History:
    """The history of a message that is moved, and nothing else."""
    return replace(history, moves=(history.moves + 1) % MAX_COUNT)


def history_of(message: Message) -> History:
    """Read a message's history. What isn't a small non-negative integer counts as 0."""
    headers = message.headers
    if not headers:
        return FRESH
    first = headers.get(FIRST_FAILED_AT)
    return History(
        attempts=_count(headers.get(ATTEMPTS)),
        crashes=_count(headers.get(CRASHES)),
        replays=_count(headers.get(REPLAYS, headers.get(OLD_REPLAYS))),
        first_failed_at=first if isinstance(first, str) and len(first) <= MAX_TEXT else "",
        moves=_count(headers.get(MOVES)),
    )


def history_in_queue(message: Message) -> History:
    """The history of a message that came from its queue.

    One that has a reason to be in the dead-letter queue was moved back by a person, with a tool of the broker's, for
    every move of ours takes it away. It begins anew, as after a pass: what came back too often will be parked.
    """
    history = history_of(message)
    if not dead_letter_reason(message):
        return history
    return replace(history, attempts=0, crashes=0, replays=min(history.replays + 1, MAX_COUNT - 1))


def with_history(message: Message, history: History) -> Message:
    """`message` as it goes to another place: with this history, one move more, and no headers of an earlier death."""
    headers = _passed_on(message.headers)
    headers[MOVES] = _one_move_more(message)
    for name, value in ((ATTEMPTS, history.attempts), (CRASHES, history.crashes), (REPLAYS, history.replays)):
        if value:
            headers[name] = value
    if history.first_failed_at:
        headers[FIRST_FAILED_AT] = history.first_failed_at
    return Message(message.body, message.message_id, headers, message.properties, message.content_encoding)


def within_limits(message: Message) -> Message:
    """`message` as it goes to another place with all its headers, none of which is larger than a broker takes."""
    own = {name: value for name, value in own_headers(message.headers).items() if type(value) in (int, str)}
    own = {name: cut(value, MAX_TRACEBACK) if type(value) is str else value for name, value in own.items()}
    headers = {**_passed_on(message.headers), **own, MOVES: _one_move_more(message)}
    return Message(message.body, message.message_id, headers, message.properties, message.content_encoding)


def with_failure(
    message: Message, history: History, *, queue: str, reason: str, error: BaseException | None = None
) -> Message:
    """`message` as it goes to the dead-letter queue: why, how often, since when. About 6 kB at most."""
    now = timestamp()
    message = with_history(message, history)
    headers = {
        **message.headers,
        "dlq-version": VERSION,
        REASON: str(reason),  # a plain text on every provider, not an enumeration on the one that keeps objects
        "dlq-queue": queue,
        "dlq-attempts": history.attempts,
        "dlq-first-failed-at": history.first_failed_at or now,
        "dlq-last-failed-at": now,
    }
    if error is not None:
        kind = type(error)
        headers["dlq-exception-type"] = cut(f"{kind.__module__}.{kind.__qualname__}", MAX_TEXT)
        headers["dlq-exception-message"] = cut(describe(error), MAX_TEXT)
        headers["dlq-traceback"] = cut_head(_traceback(error), MAX_TRACEBACK)
    return Message(message.body, message.message_id, headers, message.properties, message.content_encoding)


def own_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Those headers that this service wrote."""
    return {name: value for name, value in headers.items() if name in OWN}


def dead_letter_reason(message: Message) -> str:
    """Why a message is in the dead-letter queue, or "" if this service did not put it there."""
    reason = message.headers.get(REASON)
    return reason if isinstance(reason, str) else ""


def _traceback(error: BaseException) -> str:
    try:
        # A text of megabytes is cut before it is rendered: `limit` bounds the frames, `compact` the locals.
        shown = traceback.TracebackException.from_exception(error, limit=-20, compact=True)
        return "".join(shown.format())
    except BaseException:  # noqa: BLE001 - as in describe()
        return ""


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < MAX_COUNT else 0


def _one_move_more(message: Message) -> int:
    return (_count(message.headers.get(MOVES)) + 1) % MAX_COUNT


def _passed_on(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Without ours, which are written anew, and not too large."""
    kept = {name: value for name, value in headers.items() if name not in OWN}
    sizes = {name: _name_size(name) + wire_size(value) for name, value in kept.items()}
    total = sum(sizes.values())
    dropped: list[str] = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= MAX_FOREIGN:
            break
        total -= sizes[name]
        del kept[name]
        dropped.append(cut(name, 100))
    if isinstance(earlier := headers.get(DROPPED), str):
        dropped = [*earlier.split(", "), *dropped]
    if dropped:
        kept[DROPPED] = cut(", ".join(dict.fromkeys(dropped)), MAX_TEXT)
    return kept


def wire_size(value: Any, depth: int = 0) -> int:
    """About how many bytes a header's value takes on the wire. One that is too deep is too large for any."""
    if depth > DEEPEST:
        return TOO_LARGE
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace")) + 5
    if isinstance(value, bytes | bytearray):
        return len(value) + 5
    if isinstance(value, Mapping):
        return 5 + sum(_name_size(name) + wire_size(item, depth + 1) for name, item in value.items())
    if isinstance(value, list | tuple):
        return 5 + sum(wire_size(item, depth + 1) for item in value)
    return 9


def _name_size(name: Any) -> int:
    return len(str(name).encode("utf-8", "replace")) + 1


def timestamp() -> str:
    """Now, in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def describe(error: BaseException) -> str:
    """`str(error)`, also where that fails."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a user's __str__ may do anything
        return "(its text could not be read)"


def cut(text: str, size: int) -> str:
    """The first `size` bytes of `text` in UTF-8, in whole characters."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= size else data[: size - 3].decode("utf-8", "ignore") + "..."


def cut_head(text: str, size: int) -> str:
    """The last `size` bytes of `text`: a traceback tells most at its end."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= size else "..." + data[3 - size :].decode("utf-8", "ignore")
