"""Resolving what git calls a conflict, and is none: one side added or removed lines beside the lines the other changed.

Only done in the files that both sides write (`SHARED`), which are lists in the main.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from queue_template.facts import says_both
from queue_template.lines import LINE

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
OUTSIDE = re.compile(r"[^\s#)\]}]")
STUBS = ("app/queue/handlers/", "tests/handlers/")
"""Where imports are completed, by `imports.py`."""
Lines = list[str]


@dataclass(frozen=True)
class Part:
    """Lines that git could not merge: of each side, and with the marks (`raw`). The same four times where it could."""

    ours: Lines
    base: Lines
    theirs: Lines
    raw: Lines


def is_shared(name: str) -> bool:
    """Whether both the template and the user write this file."""
    return any(fnmatch(name, pattern) for pattern in SHARED)


def mended(name: str, text: str) -> tuple[str, int]:
    """The file's text with the hunks resolved that can be, and how many are left.

    `text` has conflicts in git's diff3 style. A result that does not say what both sides changed is not taken.
    """
    parts = list(_parts(text))
    result = [part.raw for part in parts]
    known = [part.ours for part in parts]  # what is left counts as the user's, to judge the rest
    left = 0
    for number, part in enumerate(parts):
        if part.raw == part.ours:
            continue
        head, tail = ("".join(map("".join, found)) for found in (known[:number], known[number + 1 :]))
        ours, base, theirs = (head + "".join(lines) + tail for lines in (part.ours, part.base, part.theirs))
        for both in _candidates(name, part):
            if says_both(name, ours, base, theirs, head + "".join(both) + tail, completed=is_completed(name)):
                result[number] = known[number] = both
                break
        else:
            left += 1
    return "".join(map("".join, result)), left


def _candidates(name: str, part: Part) -> Iterator[Lines]:
    both = combined(part.ours, part.base, part.theirs)
    if both is not None and starts(part.theirs, part.base):
        yield inside(part.ours, part.theirs[len(part.base) :])
    if both is not None:
        yield both
    if is_completed(name):
        yield part.ours


def is_completed(name: str) -> bool:
    """Whether imports that are missing in this file are put in later."""
    return name.startswith(STUBS) and name.endswith(".py")


def has_marks(text: str) -> bool:
    """Whether there are conflicts in it."""
    return any(OURS.fullmatch(line) for line in LINE.findall(text))


def _parts(text: str) -> Iterator[Part]:
    lines: Iterator[str] = iter(LINE.findall(text))
    for line in lines:
        if OURS.fullmatch(line):
            yield _hunk(line, lines)
        else:
            yield Part([line], [line], [line], [line])


def _hunk(first: str, lines: Iterator[str]) -> Part:
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
    return Part(parts["ours"], parts["base"], parts["theirs"], raw)


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


def starts(lines: Lines, head: Lines) -> bool:
    """Whether `lines` begins with `head`."""
    return lines[: len(head)] == head


def ends(lines: Lines, tail: Lines) -> bool:
    """Whether `lines` ends with `tail`."""
    return len(lines) >= len(tail) and lines[len(lines) - len(tail) :] == tail
