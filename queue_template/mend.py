"""Resolving what git calls a conflict, and is none: one side added or removed lines beside the lines the other changed.

Only done in the files that both sides write (`SHARED`), which are lists in the main.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch

from queue_template.entries import START as ENTRY

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
KEY = re.compile(r"(?P<key>[\w-]+) *:(?P<value>.*)")
OUTSIDE = re.compile(r"[^\s#)\]}]")
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
        if both is not None and starts(theirs, base):
            both = inside(ours, theirs[len(base) :])
        if both is None and name.endswith(".py") and only_imports(base, theirs):
            both = ours  # what is missing then comes back: imports.py
        result += raw if both is None else both
        left += both is None
    new = "".join(result)
    if left == 0 and not parses(name, new):
        return text, sum(bool(OURS.fullmatch(line)) for line in text.splitlines(keepends=True))
    return new, left


def has_marks(text: str) -> bool:
    """Whether there are conflicts in it."""
    return any(OURS.fullmatch(line) for line in text.splitlines(keepends=True))


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


def inside(ours: Lines, added: Lines) -> Lines:
    """`ours` with lines added to its end, or if they are indented, to the end of what is: a class, a list of queues.

    Behind that the user may have a function, or a key of the whole file.
    """
    first = next((line for line in added if line.strip()), "")
    place = len(ours)
    if first.startswith(" "):
        place = next((number for number, line in enumerate(ours) if OUTSIDE.match(line)), place)
    while 0 < place < len(ours) and (not ours[place - 1].strip() or ours[place - 1].startswith("#")):
        place -= 1  # what is said of a key goes with it
    return ours[:place] + added + ours[place:]


def with_change(base: Lines, changed: Lines, other: Lines) -> Lines | None:
    """`other` with what was added to or removed from one end of `base` to make `changed`, or with all of it gone."""
    if starts(changed, base):
        return other + changed[len(base) :]
    if ends(changed, base):
        return changed[: len(changed) - len(base)] + other
    if starts(base, changed) and ends(other, base[len(changed) :]):
        return other[: len(other) - (len(base) - len(changed))]
    if ends(base, changed) and starts(other, base[: len(base) - len(changed)]):
        return other[len(base) - len(changed) :]
    places = [number for number in range(len(other)) if starts(other[number:], base)]
    if base and not changed and len(places) == 1:  # all of it goes, and the other side has it in the middle
        return other[: places[0]] + other[places[0] + len(base) :]
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
    """Whether a file of Python or TOML can still be read, and whether all entries of queues.yaml are queues."""
    try:
        if name.endswith(".py"):
            ast.parse(text)
        elif name.endswith(".toml"):
            tomllib.loads(text)
        elif name == "queues.yaml":
            return entries_are_queues(text)
    except (SyntaxError, ValueError):
        return False
    return True


def entries_are_queues(text: str) -> bool:
    """Whether every entry is in the list under `queues:`, as far as can be seen without a parser of YAML."""
    key = ""
    for line in text.splitlines():
        if found := KEY.match(line):
            key = found["key"]
            if key == "queues" and found["value"].partition(" #")[0].strip():
                return False  # a list in one line, and no place for an entry
        elif ENTRY.fullmatch(line) and key != "queues":
            return False
    return True
