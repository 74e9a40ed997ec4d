"""The note, in git's own folder, of what a command touches, with a copy of each file as it was."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from queue_template.index import Entry, Indexed

FILE = "template-undo.json"
COPIES = "template-undo"
MARK = re.compile(rb"^>{7} [0-9a-f]+ \(template .*\)\r?$", re.MULTILINE)
"""The end of a conflict that this tool wrote."""


@dataclass(frozen=True)
class Touched:
    """A path as it was before.

    Attributes:
        name: from the repository's folder on.
        committed: what the last commit has there.
        indexed: what the index has there.
        copied: whether there was a file, or a link, of which there is a copy.
    """

    name: str
    committed: Entry | None
    indexed: Indexed | None
    copied: bool


@dataclass(frozen=True)
class Record:
    """What a command does.

    Attributes:
        what: in a few words.
        head: the commit that it was done on.
        done: false while it is at it, and for ever if it was broken off.
        conflicts: files in which it left conflicts.
        touched: the paths that it writes or deletes; None if a tool from before there was this list made the note.
        folders: the folders these paths are in, with their modes. Those that are not named here were not there.
    """

    what: str
    head: str
    done: bool = True
    conflicts: list[str] = field(default_factory=list)
    touched: list[Touched] | None = None
    folders: dict[str, int] = field(default_factory=dict)


def load(folder: Path) -> Record | None:
    """The record in this folder of git's, if there is one."""
    try:
        said = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if said.get("touched") is not None:
        said["touched"] = [_touched(one) for one in said["touched"]]
    return Record(**said)


def _touched(said: dict[str, Any]) -> Touched:
    committed = Entry(**said["committed"]) if said["committed"] else None
    indexed = None
    if found := said["indexed"]:
        indexed = Indexed(**found | {"stages": {int(key): Entry(**one) for key, one in found["stages"].items()}})
    return Touched(said["name"], committed, indexed, said["copied"])


def save(folder: Path, record: Record) -> None:
    """Write it, in one step."""
    new = folder / f"{FILE}.new"
    new.write_text(json.dumps(asdict(record)), encoding="utf-8")
    new.replace(folder / FILE)


def forget(folder: Path) -> None:
    """There is nothing to take back any more."""
    (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / COPIES, ignore_errors=True)


def copy_of(folder: Path, number: int) -> Path:
    """Where the copy of the path with this number is."""
    return folder / COPIES / str(number)


def left_conflicts(folder: Path, top: Path) -> list[str]:
    """The files in which the last command left conflicts that are still there, committed or not."""
    record = load(folder)
    return [name for name in (record.conflicts if record else []) if _has_mark(top / name)]


def _has_mark(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and MARK.search(file.read_bytes()) is not None
