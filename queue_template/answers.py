"""The answers to the template's questions, and the one to `queues` with a queue or a type more or less."""

from __future__ import annotations

import re
from typing import Any

from queue_template.git import TemplateError

UNASKED = frozenset({"_polled_kit"})
"""Answers that no question asks for. cruft's own commands take them for computed values, and forget them."""


def answers_of(state: dict[str, Any]) -> dict[str, Any]:
    """The answers that were given: what else is hidden is computed anew at every render."""
    found = state["context"]["cookiecutter"].items()
    return {name: value for name, value in found if not name.startswith("_") or name in UNASKED}


def check_state(state: dict[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError unless what a link file says has the shape that is counted on here."""
    answers: Any = state
    for key in ("context", "cookiecutter"):
        answers = answers[key]
        if not isinstance(answers, dict):
            raise TypeError(f"{key} must be an object")
    texts = {"queues": answers["queues"], "checkout": state.get("checkout"), "directory": state.get("directory")}
    for key, value in texts.items():
        if not isinstance(value, str) and (value is not None or key == "queues"):
            raise TypeError(f"{key} must be text")


def with_queue(queues: str, queue: str) -> str:
    """The answer to `queues` with one more. The template itself checks what it says."""
    return f"{queues.strip().rstrip(';')}; {queue.strip()}"


def with_type(queues: str, queue: str, kind: str) -> str:
    """The answer to `queues` with one more message type. Raises TemplateError for a queue that isn't in it."""
    parts, at = find_queue(queues, queue)
    parts[at] += f", {kind}" if ":" in parts[at] else f": example, {kind}"  # the stub's own, which may be filled in
    return "; ".join(parts)


def without_queue(queues: str, queue: str) -> str:
    """The answer to `queues` less one. Raises TemplateError for a queue that isn't in it, or is the last."""
    parts, at = find_queue(queues, queue)
    if len(parts) == 1:
        raise TemplateError(f"{queue!r} is the only queue, and a project has one at least: add another one first.")
    del parts[at]
    return "; ".join(parts)


def queue_names(queues: str) -> list[str]:
    """The names in the answer to `queues`."""
    return [re.split(r"[@!:]", part, maxsplit=1)[0].strip() for part in queues.split(";")]


def find_queue(queues: str, queue: str) -> tuple[list[str], int]:
    """The answer to `queues` in parts, and which part is this queue's."""
    parts = [part.strip() for part in queues.split(";")]
    names = queue_names(queues)
    if queue not in names:
        raise TemplateError(
            f"There is no queue {queue!r} in the answers, only: {', '.join(names)}. "
            "One that has no handler is changed by hand, in queues.yaml."
        )
    return parts, names.index(queue)
