"""Files on disk: what is at a path, in short, and giving it something else without losing what was saved meanwhile."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from queue_template.git import TemplateError

GONE = (FileNotFoundError, NotADirectoryError)
"""What is a folder for one side may be a file for the other."""


def print_of(path: Path, mode: int | None = None) -> str | None:
    """What is there, in short: a digest of a file (with this mode instead of its own), or of a link.

    None if nothing is there, or a folder.
    """
    try:
        if path.is_symlink():
            return f"link {hashlib.sha256(os.fsencode(path.readlink())).hexdigest()}"
        if not path.is_file():
            return None
        found = path.stat().st_mode if mode is None else mode
        kind = "program" if found & stat.S_IXUSR and os.name != "nt" else "file"
        return f"{kind} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except GONE:
        return None


def exchange(
    path: Path, expected: str | None, away: Path, source: Path | None, beside: Path, mode: int | None = None
) -> None:
    """Have `path` be what `source` is, a file or a link, the same in all or with these permissions; or nothing.

    Args:
        path: its folder is there, if there is a source.
        expected: what it is now, by `print_of`. Raises TemplateError, and leaves it, if it is anything else.
        away: where that goes.
        source: None to have nothing there.
        beside: a name in the folder of `path` that nobody else uses, for files on their way. See `tidy`.
        mode: for a file.
    """
    if source and not source.is_symlink():
        with source.open("rb") as old, beside.open("xb") as file:
            shutil.copyfileobj(old, file)
        if mode is None:
            shutil.copystat(source, beside)
        else:
            beside.chmod(mode)
    if not _take_away(path, expected, away, _leaving(beside)):
        raise changed(path)
    if source is None:
        return
    try:
        if source.is_symlink():
            path.symlink_to(source.readlink())
        else:
            _place(beside, path)
    except FileExistsError:
        raise changed(path) from None


def _take_away(path: Path, expected: str | None, away: Path, leaving: Path) -> bool:
    if is_folder(path):
        return expected is None
    try:
        path.rename(leaving)  # in its own folder, which can't fail halfway
    except GONE:
        return expected is None
    if print_of(leaving) != expected:
        _put_back(leaving, path)
        return False
    with suppress(FileNotFoundError):
        away.unlink()
    shutil.move(leaving, away)
    return True


def _put_back(leaving: Path, path: Path) -> None:
    if is_folder(leaving) or leaving.is_symlink():
        leaving.rename(path)
        return
    with suppress(FileExistsError):  # saved a second time: that has it all
        _place(leaving, path)


def _place(new: Path, path: Path) -> None:
    """Rename it, and raise FileExistsError if something is there."""
    if os.name == "nt":
        new.rename(path)  # which does so there
        return
    try:
        os.link(new, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links: the place is taken first, by a file that is empty
        path.open("xb").close()
        new.replace(path)
        return
    new.unlink()


def changed(path: Path) -> TemplateError:
    """The error that somebody else has written there."""
    return TemplateError(f"{path} was changed while this ran, and stays as it is now. Try again.")


def _leaving(beside: Path) -> Path:
    return beside.with_name(f"{beside.name}-old")


def tidy(path: Path, beside: Path) -> None:
    """Delete what an `exchange` that was broken off has left, or have what was on its way out be back in its place."""
    with suppress(*GONE):
        beside.unlink()
    leaving = _leaving(beside)
    if not os.path.lexists(leaving):
        return
    if not os.path.lexists(path):
        _put_back(leaving, path)
    with suppress(*GONE):
        leaving.unlink()


def prune(folder: Path, stay: Collection[Path]) -> None:
    """Delete this folder if it is empty, and those above that are empty then, up to the first of those that stay."""
    for one in (folder, *folder.parents):
        if one in stay:
            return
        try:
            one.rmdir()
        except GONE:
            continue
        except OSError:
            return


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def files_in(folder: Path) -> list[Path]:
    """All files and links in a folder, and in the folders in it."""
    found = [Path(parent) / name for parent, folders, files in os.walk(folder) for name in (*folders, *files)]
    return [path for path in found if not is_folder(path)]
