"""The form of a user's file: its encoding, a byte order mark, its line endings, whether the last line is ended.

The template has UTF-8 and line feeds. What comes from it is put into the form of the user's file before the two are
merged, so that a difference in form is no difference to the merge, and the file stays as the user has it.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher

from queue_template.lines import LINE
from queue_template.versions import with_own_versions

MARK = b"\xef\xbb\xbf"


def fitted(name: str, ours: bytes, base: bytes, theirs: bytes) -> tuple[bytes, bytes]:
    """The template's old and new content of a file, so that the merge with the user's sees what was changed alone.

    Both get the form of `ours`; and `base` gets its versions, where bots look, since both sides raise these. Unchanged
    if one of the three is no text.
    """
    texts = [decoded(name, data) for data in (ours, base, theirs)]
    if None in texts:
        return base, theirs
    (own, encoding), (before, _), (after, _) = (text for text in texts if text is not None)
    before, after = with_own_versions(name, line_feeds(own), line_feeds(before), line_feeds(after))
    before = with_endings_of(before, own)
    return encoded(before, encoding), encoded(with_endings_of(after, before), encoding)


def changed(name: str, data: bytes, change: Callable[[str], str]) -> bytes:
    """The content of a user's file after a change of its text, which is given and taken with line feeds.

    What stays unchanged keeps its bytes. Unchanged if it is no text.
    """
    found = decoded(name, data)
    if found is None:
        return data
    old = line_feeds(found[0])
    new = change(old)
    return data if new == old else encoded_like(name, new, data)


def encoded_like(name: str, text: str, model: bytes) -> bytes:
    """The text, which has line feeds, in the form of a file's content."""
    found = decoded(name, model)
    return encoded(with_endings_of(text, found[0]), found[1]) if found else text.encode()


def text_of(name: str, data: bytes) -> str:
    """A file's text with line feeds and without a byte order mark; empty if it is no text."""
    found = decoded(name, data)
    return line_feeds(found[0]) if found else ""


def decoded(name: str, data: bytes) -> tuple[str, str] | None:
    """A file's text with its own line endings, and its encoding, which a module may name. None if it is no text."""
    try:
        if name.endswith(".py"):
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        else:
            encoding = "utf-8-sig" if data.startswith(MARK) else "utf-8"
        return data.decode(encoding), encoding
    except (SyntaxError, ValueError, LookupError):
        return None


def encoded(text: str, encoding: str) -> bytes:
    """The text's bytes. A character that the encoding does not have is written as Python writes it in ASCII."""
    return text.encode(encoding, errors="backslashreplace")


def line_feeds(text: str) -> str:
    """The text with a line feed at each line's end."""
    return text.replace("\r\n", "\n")


def with_endings_of(text: str, model: str) -> str:
    """`text`, which has line feeds, with the line endings of `model`: the same line has the same one in both.

    A new line has the one that is the rule there. The last line is ended as it is there.
    """
    lines, own = LINE.findall(text), LINE.findall(model)
    counted = Counter(line.endswith("\r\n") for line in own if line.endswith("\n"))
    if counted[True]:
        endings = [counted[True] > counted[False]] * len(lines)
        if counted[False]:
            bare = [line.rstrip("\r\n") for line in own]
            matcher = SequenceMatcher(None, bare, [line.rstrip("\n") for line in lines], autojunk=False)
            for first, second, size in matcher.get_matching_blocks():
                for step in range(size):
                    if own[first + step].endswith("\n"):
                        endings[second + step] = own[first + step].endswith("\r\n")
        lines = [
            f"{line[:-1]}\r\n" if carriage and line.endswith("\n") else line
            for line, carriage in zip(lines, endings, strict=True)
        ]
    whole = "".join(lines)
    return re.sub(r"\r?\n\Z", "", whole) if own and not own[-1].endswith("\n") else whole
