"""Putting a file on disk in one step, and taking one away with the folders that are empty then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def put(source: Path, target: Path, mode: int | None = None) -> None:
    """Have `target` be what `source` is, a file or a link: the same in all, or with these permissions."""
    new = _unfinished(target)
    if source.is_symlink():
        new.symlink_to(source.readlink())
    else:
        with source.open("rb") as old, new.open("xb") as file:
            shutil.copyfileobj(old, file)
        if mode is None:
            shutil.copystat(source, new)
        else:
            new.chmod(mode)
    _finish(new, target)


def _finish(new: Path, target: Path) -> None:
    new.replace(target)


def remove(file: Path, stay: Collection[Path]) -> None:
    """Delete it, if it is there, and the folders above that are empty then, up to the first of those that stay."""
    _delete(file)
    for folder in file.parents:
        if folder in stay:
            return
        try:
            folder.rmdir()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return


def clear(target: Path) -> None:
    """Delete what a `put` that was broken off has left."""
    _delete(_unfinished(target))


def _delete(file: Path) -> None:
    # What is a folder for one side may be a file for the other.
    with suppress(FileNotFoundError, NotADirectoryError):
        if not is_folder(file):
            file.unlink()


def _unfinished(target: Path) -> Path:
    return target.with_name(f".{target.name}.queue-template")


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def files_in(folder: Path) -> list[Path]:
    """All files and links in a folder, and in the folders in it."""
    found = [Path(parent) / name for parent, folders, files in os.walk(folder) for name in (*folders, *files)]
    return [path for path in found if not is_folder(path)]
