"""Resolving what git calls a conflict, and is none: one side added or removed lines beside the lines the other changed.

Only done in the files that both sides write (`SHARED`), which are lists in the main.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch

SHARED = (
    "queues.yaml",
    "pyproject.toml",
    "app/main.py",
    "app/queue/handlers/*.py",
    "tests/handlers/*.py",
    ".env.example",
    ".gitignore",
    "README*.md",
)
OURS, BASE, THEIRS, END = (re.compile(mark + r"(?: .*)?\n?") for mark in ("<{7}", r"\|{7}", "={7}", ">{7}"))
IMPORT = re.compile(r"(?:from [\w.]+ )?import .*\n| {4}\w+,\n")
Lines = list[str]


def is_shared(name: str) -> bool:
    """Whether both the template and the user write this file."""
    return any(fnmatch(name, pattern) for pattern in SHARED)


def mended(name: str, text: str) -> tuple[str, int]:
    """The file's text with the hunks resolved that can be, and how many are left.

    `text` has conflicts in git's diff3 style. A result that can't be parsed any more is not taken.
    """
    result: Lines = []
    left = 0
    lines = iter(text.splitlines(keepends=True))
    for line in lines:
        if not OURS.fullmatch(line):
            result.append(line)
            continue
        ours, base, theirs, raw = _hunk(line, lines)
        both = combined(ours, base, theirs)
        if both is None and name.endswith(".py") and only_imports(base, theirs):
            both = ours  # what is missing then comes back: imports.py
        result += raw if both is None else both
        left += both is None
    new = "".join(result)
    if left == 0 and not parses(name, new):
        return text, sum(bool(OURS.fullmatch(line)) for line in text.splitlines(keepends=True))
    return new, left


def _hunk(first: str, lines: Iterator[str]) -> tuple[Lines, Lines, Lines, Lines]:
    parts: dict[str, Lines] = {"ours": [], "base": [], "theirs": []}
    raw, part = [first], "ours"
    for line in lines:
        raw.append(line)
        if part == "ours" and BASE.fullmatch(line):
            part = "base"
        elif part == "base" and THEIRS.fullmatch(line):
            part = "theirs"
        elif part == "theirs" and END.fullmatch(line):
            break
        else:
            parts[part].append(line)
    return parts["ours"], parts["base"], parts["theirs"], raw


def combined(ours: Lines, base: Lines, theirs: Lines) -> Lines | None:
    """Both changes, if one of them only adds or removes at one end of the hunk. None if both change the same lines."""
    result = with_change(base, theirs, ours)
    return with_change(base, ours, theirs) if result is None else result


def with_change(base: Lines, changed: Lines, other: Lines) -> Lines | None:
    """`other` with what was added to or removed from one end of `base` to make `changed`, or None."""
    if starts(changed, base):
        return other + changed[len(base) :]
    if ends(changed, base):
        return changed[: len(changed) - len(base)] + other
    if starts(base, changed) and ends(other, base[len(changed) :]):
        return other[: len(other) - (len(base) - len(changed))]
    if ends(base, changed) and starts(other, base[: len(base) - len(changed)]):
        return other[len(base) - len(changed) :]
    return None


def only_imports(base: Lines, theirs: Lines) -> bool:
    """Whether the template changed nothing but imports."""
    changed = [line for line in theirs if line not in base] + [line for line in base if line not in theirs]
    return all(IMPORT.fullmatch(line) for line in changed)


def starts(lines: Lines, head: Lines) -> bool:
    """Whether `lines` begins with `head`."""
    return lines[: len(head)] == head


def ends(lines: Lines, tail: Lines) -> bool:
    """Whether `lines` ends with `tail`."""
    return len(lines) >= len(tail) and lines[len(lines) - len(tail) :] == tail


def parses(name: str, text: str) -> bool:
    """Whether a file of Python or TOML can still be read."""
    try:
        if name.endswith(".py"):
            ast.parse(text)
        elif name.endswith(".toml"):
            tomllib.loads(text)
    except (SyntaxError, ValueError):
        return False
    return True
