"""The note, in git's own folder, of what a command does to which paths. Beside it are the files that it replaces."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from queue_template.git import TemplateError
from queue_template.index import Entry, Indexed

FILE = "note.json"
MARK = re.compile(rb"^>{7} [0-9a-f]+ \(template .*\)\r?$", re.MULTILINE)
"""The end of a conflict that this tool wrote."""


@dataclass(frozen=True)
class Touched:
    """A path as it was before, and as the command makes it.

    Attributes:
        name: from the repository's folder on.
        committed: what the last commit has there.
        indexed, staged: what the index has there, before and then.
        disk, written: what is on disk, before and then, as `files.print_of` says it.
    """

    name: str
    committed: Entry | None
    indexed: Indexed | None
    staged: Indexed | None
    disk: str | None
    written: str | None

    @property
    def loose(self) -> bool:
        """Whether git has none of it, before and then: somebody's rule has it ignore the folder."""
        return self.committed is None and self.indexed is None and self.staged is None


@dataclass(frozen=True)
class Record:
    """What a command does.

    Attributes:
        what: in a few words.
        done: false while it is at it, and for ever if it was broken off.
        conflicts: files in which it left conflicts.
        touched: the paths that it writes or deletes.
        folders: the folders these paths are in, with their modes. Those that are not named here were not there.
        mark: part of the names of its unfinished files, which no file of the user's has.
    """

    what: str
    done: bool
    conflicts: list[str]
    touched: list[Touched]
    folders: dict[str, int]
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def beside(self, path: Path, number: int) -> Path:
        """The name of an unfinished file for the path with this number."""
        return path.with_name(f".queue-template-{self.mark}-{number}")


def load(folder: Path) -> Record | None:
    """The record in this folder, if there is one. Raises TemplateError if it can't be read."""
    file = folder / FILE
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return _record(said)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TemplateError(
            f"The note of the last change can't be read ({error!r}). Delete {file}; undo can't take that change back "
            "any more then, but git can what is not committed (git status shows it)."
        ) from None


def _record(said: dict[str, Any]) -> Record:
    record = Record(**said | {"touched": [_touched(one) for one in said["touched"]]})
    texts = [record.what, record.mark, *record.conflicts, *record.folders, *(one.name for one in record.touched)]
    texts += [text for one in record.touched for text in (one.disk, one.written) if text is not None]
    if not all(isinstance(text, str) for text in texts) or not isinstance(record.done, bool):
        raise TypeError("something in it is not of its kind")
    return record


def _touched(said: dict[str, Any]) -> Touched:
    committed = Entry(**said["committed"]) if said["committed"] else None
    return Touched(
        **said | {"committed": committed, "indexed": _indexed(said["indexed"]), "staged": _indexed(said["staged"])}
    )


def _indexed(said: dict[str, Any] | None) -> Indexed | None:
    stages = {int(key): Entry(**one) for key, one in said["stages"].items()} if said else {}
    return Indexed(**said | {"stages": stages}) if said else None


def begin(folder: Path, record: Record) -> None:
    """Write the first note of a command, in place of the one of the command before."""
    forget(folder)
    folder.mkdir(parents=True)
    save(folder, record)


def save(folder: Path, record: Record) -> None:
    """Write it, in one step, which a power cut doesn't undo by half."""
    new = folder / f"{FILE}.new"
    with new.open("w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / FILE)


def forget(folder: Path) -> None:
    """There is nothing to take back any more."""
    (folder / FILE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def original_of(folder: Path, number: int) -> Path:
    """Where the file is that was at the path with this number, once another one has its place, or none."""
    return folder / str(number)


def left_conflicts(folder: Path, top: Path) -> list[str]:
    """The files in which the last command left conflicts that are still there, committed or not."""
    record = load(folder)
    return [name for name in (record.conflicts if record else []) if _has_mark(top / name)]


def _has_mark(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and MARK.search(file.read_bytes()) is not None
