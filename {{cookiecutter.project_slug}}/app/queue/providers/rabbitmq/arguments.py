# The template's: an update changes it. Which files are yours: README.md.
"""What the arguments of a queue may be that somebody else has made, and how the broker says what they are.

AMQP reads no arguments back, and a passive declare compares none. An active one compares, and names the first that
differs, with its value. So a queue is declared again with that value, until nothing differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.queue.broker.existing import LOSES_NOTHING, Rule, one_of

MAKES_NOTHING = {"x-stream-max-segment-size-bytes": 1}
"""Not looked at where a queue exists. Where there is none, the broker refuses to make one that is no stream with it."""
NOT_MADE = "invalid arg 'x-stream-max-segment-size-bytes'"
MANY_DELIVERIES = 1000  # what a delivery limit must reach: each link that breaks counts, for what it had in flight
UNREADABLE = object()
_DIFFERENCE = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .*? but current is "
    r"(?:the value '(?P<value>.*)' of type '(?P<type>\w+)'|'(?P<plain>.*)'|none)$",
    re.DOTALL,
)
_NAME = re.compile(r"inequivalent arg '([^']+)'")


def _not_dropped(value: Any, found: Mapping[str, Any]) -> bool:
    return value is None or found.get("x-overflow") == "reject-publish"


CONSUMED: dict[str, Rule] = {
    "x-queue-type": Rule("and neither quorum nor classic", one_of(None, "quorum", "classic")),
    "x-message-ttl": Rule("messages would expire", one_of(None)),
    "x-expires": Rule("the queue would be deleted, with what is in it, when nobody uses it", one_of(None)),
    "x-max-length": Rule("more than these would push out the oldest", _not_dropped),
    "x-max-length-bytes": Rule("more than these would push out the oldest", _not_dropped),
    "x-delivery-limit": Rule(
        "what came so often would be dropped", lambda value, _: value is None or not 0 <= value < MANY_DELIVERIES
    ),
    **dict.fromkeys(("x-single-active-consumer", "x-max-priority", "x-queue-mode", "x-queue-version"), LOSES_NOTHING),
    **dict.fromkeys(("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy"), LOSES_NOTHING),
    **dict.fromkeys(("x-queue-leader-locator", "x-queue-master-locator", "x-overflow"), LOSES_NOTHING),
    **dict.fromkeys(("x-quorum-initial-group-size", "x-quorum-target-group-size"), LOSES_NOTHING),
    **dict.fromkeys(("x-max-in-memory-length", "x-max-in-memory-bytes"), LOSES_NOTHING),
}
"""For the queue itself. One that is in no table is not known, and refused."""
READ = CONSUMED | {
    "x-single-active-consumer": Rule(
        "RabbitMQ gives nothing of it to who asks for one message",
        lambda value, found: not value or found.get("x-queue-type") != "quorum",
    )
}
"""For the places that are read one by one."""


def waiting(arguments: Mapping[str, Any]) -> dict[str, Rule]:
    """For a wait queue: each argument of ours decides when, and whether, a retry comes."""
    harm = "and not what this service says: a retry would be lost, or late"
    return CONSUMED | {name: Rule(harm, one_of(value)) for name, value in arguments.items()}


def read_difference(said: str, asked: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The argument that the broker says differs, and its value: None if it has none. None if it says something else.

    Where both sides have a value, it says no type: it is that of what we asked.
    """
    if (found := _DIFFERENCE.search(said)) is None:
        named = _NAME.search(said)  # the broker cuts what is longer than 255 bytes
        return (named[1], UNREADABLE) if named else None
    name, kind = found["name"], found["type"] or type(asked.get(found["name"])).__name__
    text = found["plain"] if found["value"] is None else found["value"]
    if text is None or kind in ("longstr", "str"):
        return name, text
    if kind == "bool":
        return name, text == "true"
    return name, int(text) if re.fullmatch(r"-?\d+", text) else UNREADABLE
