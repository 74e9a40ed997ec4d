"""Versions that bots raise: of dependencies, actions, images and hooks. One rule for all files in which bots look.

A line that is the same on all sides but for its versions is not the merge's affair: each version is decided here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from fnmatch import fnmatch

from queue_template.lines import LINE

BOTS_LOOK = (
    "pyproject.toml",
    "Dockerfile*",
    "compose*.y*ml",
    ".pre-commit-config.yaml",
    ".github/workflows/*.y*ml",
    ".devcontainer/*",
)
NUMBER = r"v?\d[\w.+!*-]*"
ONE = rf"(?:===|[<>=!~]=|[<>]) *{NUMBER}"
SHA = r"[0-9a-f]{40}"
UNIT = re.compile(
    rf"(?P<range>{ONE}(?: *, *{ONE})*)"  # "redis>=7.1,<9"
    rf"|(?<=@)(?P<ref>{SHA}(?: +# *{NUMBER})?|{NUMBER})"  # uses: actions/checkout@... # v7.0.1
    rf"|(?<=rev: )(?P<rev>{SHA}(?: +# *frozen: *{NUMBER})?|{NUMBER})"  # pre-commit
    r"|(?<=[\w/]:)(?P<tag>v?\d+(?:\.\d+)*)(?P<kind>[\w.-]*)(?P<digest>@sha256:[0-9a-f]{64})?"  # python:3.13-slim
)
IMAGE = re.compile(r"""\bimage["']?: |^ *FROM |--from=|docker://""")
MEMBER = re.compile(rf"(===|[<>=!~]=|[<>]) *({NUMBER})")
COMMENT = re.compile(r"(?:^|\s+)#.*$")
LOWEST, HIGHEST, EXACT = (">", ">="), ("<", "<="), {"==", "===", "~="}
Range = dict[str, str]
Order = tuple[tuple[int, ...], bool]


@dataclass(frozen=True)
class Line:
    """A line in parts.

    Attributes:
        text: all of it but for the line feed.
        key: what it says but for its versions and its comment.
        pieces: what is before each version and behind the last one; `values` are these, as they are written.
        comment: with the blanks before it. A version in it is none.
        end: the line feed; a last line may have none, whatever the other sides have behind it.
    """

    text: str
    key: tuple[str, ...]
    pieces: list[str]
    values: list[str]
    comment: str
    end: str

    def with_values(self, values: list[str], comment: str) -> str:
        """The line with other versions and another comment."""
        *heads, tail = self.pieces
        return "".join([*map("".join, zip(heads, values, strict=True)), tail, comment])


def with_own_versions(name: str, ours: str, base: str, theirs: str) -> tuple[str, str]:
    """`base` with the versions of `ours`, and `theirs` with those that the merge of the three is to have."""
    if len({ours, base, theirs}) < 3 or not any(fnmatch(name, pattern) for pattern in BOTS_LOOK):
        return base, theirs
    own, old, new = ([read(line) for line in LINE.findall(text)] for text in (ours, base, theirs))
    mine, template = partners(old, own), partners(old, new)
    before, after = ([line.text for line in lines] for lines in (old, new))
    for number, line in enumerate(old):
        if not line.values or number not in mine or number not in template:
            continue
        user, other = mine[number], template[number]
        if user is not None and other is not None:
            merged = merged_line(own[user], line, new[other])
            if merged is not None:
                before[number], after[other] = own[user].text, merged
        elif user is not None:
            before[number] = own[user].text  # the template drops the line
        elif other is not None:
            after[other] = line.text  # the user did
    return joined(before, old), joined(after, new)


def joined(texts: list[str], lines: list[Line]) -> str:
    """Other texts in the place of these lines."""
    return "".join(text + line.end for text, line in zip(texts, lines, strict=True))


def read(text: str) -> Line:
    """A line in parts."""
    image, body = IMAGE.search(text) is not None, text.rstrip("\r\n")
    key: list[str] = []
    pieces: list[str] = []
    values: list[str] = []
    done = 0
    for found in UNIT.finditer(body):
        piece = body[done : found.start()]
        if COMMENT.search(piece):
            break
        if (found["tag"] and not image) or (found["ref"] and "uses:" not in text):
            continue
        key += [piece, found["kind"] or ""]
        pieces.append(piece)
        values.append(found.group())
        done = found.end()
    comment = COMMENT.search(body, done)
    end = comment.start() if comment else len(body)
    return Line(body, (*key, body[done:end]), [*pieces, body[done:end]], values, body[end:], text[len(body) :])


def partners(old: list[Line], new: list[Line]) -> dict[int, int | None]:
    """Which line of `new` each line of `old` is, None if it was dropped.

    A line that is not there was moved, or another one is in its place. Nobody but the user can say whether that one has
    to have the version that the other side gave it: git calls it a conflict.
    """
    found: dict[int, int | None] = {}
    there = {line.key for line in new}
    matcher = SequenceMatcher(None, [line.key for line in old], [line.key for line in new], autojunk=False)
    for kind, first, last, second, _ in matcher.get_opcodes():
        for number in range(first, last):
            if kind == "equal":
                found[number] = second + number - first
            elif kind == "delete" and old[number].key not in there:
                found[number] = None
    return found


def merged_line(ours: Line, base: Line, theirs: Line) -> str | None:
    """The line with the versions of both sides. None if that is for the user to decide."""
    values = []
    for own, old, new in zip(ours.values, base.values, theirs.values, strict=True):
        value = merged_range(own, old, new) if MEMBER.match(own) else merged_version(own, old, new)
        if value is None:
            return None
        values.append(value)
    comments = [line.comment.strip() for line in (ours, base, theirs)]
    if comments[0] not in comments[1:] and comments[1] != comments[2]:
        return None
    if values == ours.values and comments[2] in comments[:2]:
        return ours.text
    return theirs.with_values(values, theirs.comment if comments[0] == comments[1] else ours.comment)


def merged_version(ours: str, base: str, theirs: str) -> str:
    """The higher one, if both sides changed it. What the user has lowered stays, and so does a commit with no name."""
    if ours == base:
        return theirs
    keys = [order(text) for text in (ours, base, theirs)]
    own, old, new = keys
    if theirs == base or own is None or new is None or (old is not None and own < old):
        return ours
    return max((own, ours), (new, theirs))[1]


def merged_range(ours: str, base: str, theirs: str) -> str | None:
    """The range with each of its ends as the side has it that changed it; the narrower one, if both did.

    None if both sides changed it, and it is no range.
    """
    if theirs in (ours, base):
        return ours
    if ours == base:
        return theirs
    own, old, new = (ends_of(text) for text in (ours, base, theirs))
    if own.keys() == old.keys() == new.keys() and len(own) == 1 and own.keys() <= EXACT:
        sign = next(iter(own))
        return sign + merged_version(own[sign], old[sign], new[sign])
    if own.keys() == {"=="} and is_in(own["=="], new):
        return ours
    if not all(is_range(found) for found in (own, old, new)):
        return None
    result = merged_end(own, old, new, LOWEST) | merged_end(own, old, new, HIGHEST)
    low, high = end(result, LOWEST), end(result, HIGHEST)
    if low and high and key(low) >= key(high):  # nothing is in it
        return ours if key(end(own, LOWEST)) >= key(end(new, LOWEST)) else theirs
    for found, text in ((own, ours), (new, theirs)):
        if found == result:
            return text
    return ",".join(f"{sign}{number}" for sign, number in result.items())


def ends_of(text: str) -> Range:
    """The parts of a range: a sign, and the version behind it."""
    found: list[tuple[str, str]] = MEMBER.findall(text)
    return dict(found)


def merged_end(ours: Range, base: Range, theirs: Range, signs: tuple[str, str]) -> Range:
    """The lower or the upper end of both sides' range. An upper end that the user took away is not put back."""
    own, old, new = (end(found, signs) for found in (ours, base, theirs))
    if own in (old, new):
        chosen = new
    elif new == old or (own is None and signs == HIGHEST):
        chosen = own
    else:
        chosen = (max if signs == LOWEST else min)((one for one in (own, new) if one), key=key)
    return dict([chosen]) if chosen else {}


def is_range(found: Range) -> bool:
    """Whether it has nothing but one lower and one upper end at most."""
    return found.keys() <= {*LOWEST, *HIGHEST} and not any(found.keys() >= set(signs) for signs in (LOWEST, HIGHEST))


def is_in(version: str, found: Range) -> bool:
    """Whether a range with a lower and an upper end holds a version."""
    low, high = end(found, LOWEST), end(found, HIGHEST)
    own = key(("==", version))
    return is_range(found) and (low is None or key(low) <= own) and (high is None or own < key(high))


def end(found: Range, signs: tuple[str, str]) -> tuple[str, str] | None:
    """The lower or the upper end of a range."""
    return next(((sign, number) for sign, number in found.items() if sign in signs), None)


def key(one: tuple[str, str] | None) -> Order:
    """What an end of a range is compared by. No end is the lowest."""
    return (order(one[1]) if one else None) or ((), True)


def order(text: str) -> Order | None:
    """What a version is compared by: its numbers, and whether it is final. None for a commit that no comment names."""
    named = re.search(rf"# *(?:frozen: *)?({NUMBER})$", text)
    if named is None and re.fullmatch(SHA, text):
        return None
    found = re.match(r"v?(\d+(?:\.\d+)*)(.*)", named[1] if named else text)
    if found is None:
        return None
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), not re.match(r"[.-]?(?:a|b|c|rc|alpha|beta|dev|pre)", found[2])
