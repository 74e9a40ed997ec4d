"""Putting a file on disk in one step, and taking one away with the folders that are empty then."""

from __future__ import annotations

import shutil
from collections.abc import Collection
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
    file.unlink(missing_ok=True)
    for folder in file.parents:
        if folder in stay:
            return
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


def clear(target: Path) -> None:
    """Delete what a `put` that was broken off has left."""
    _unfinished(target).unlink(missing_ok=True)


def _unfinished(target: Path) -> Path:
    return target.with_name(f".{target.name}.queue-template")
