"""The entries of queues.yaml as text, since a user's comments have to stay."""

from __future__ import annotations

import re

from queue_template.lines import LINE

START = re.compile(r"""(?P<indent> *)- +name: *(?P<quote>["']?)(?P<name>[^"'#\s]+)(?P=quote) *(?:#.*)?""")


def span(text: str, queue: str) -> tuple[int, int] | None:
    """The lines of a queue's entry, from and to (not included), less blank lines and comments behind it."""
    lines = [line.rstrip("\n") for line in LINE.findall(text)]
    for first, line in enumerate(lines):
        start = START.fullmatch(line)
        if start and start["name"] == queue:
            indent = len(start["indent"])
            last = first
            for number in range(first + 1, len(lines)):
                inside = lines[number]
                if inside.strip() and len(inside) - len(inside.lstrip()) <= indent:
                    break
                if inside.strip():
                    last = number
            return first, last + 1
    return None


def with_entry_of(source: str, text: str, queue: str) -> str:
    """`text` with the entry of this queue as `source` has it; unchanged if either has none."""
    theirs, ours = span(source, queue), span(text, queue)
    if theirs is None or ours is None:
        return text
    lines, own = LINE.findall(text), LINE.findall(source)
    return "".join([*lines[: ours[0]], *own[theirs[0] : theirs[1]], *lines[ours[1] :]])


def entry(text: str, queue: str) -> str:
    """The text of a queue's entry, empty if there is none."""
    found = span(text, queue)
    return "".join(LINE.findall(text)[found[0] : found[1]]) if found else ""
