"""Files that git changes on their way to the disk and back, by a program: git-lfs, git-crypt and the like.

The template's files are plain, so a merge needs the user's as they are on disk, and the index needs what the filter
makes of the result. Only a file that the template changes is taken through its filter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from queue_template.git import TemplateError, git, git_bytes, run_git
from queue_template.index import joined

KEYS = ("clean", "smudge", "process")
KEY = re.compile(r"filter\.(?P<driver>.+)\.(?:clean|smudge|process)")


def names_under_a_filter(top: Path, names: Iterable[str]) -> dict[str, str]:
    """Those of the names whose content goes through a filter that is set up here, and the filter's name."""
    drivers = _drivers(top)
    if not drivers:
        return {}
    said = git(top, "check-attr", "-z", "--stdin", "filter", given=joined(names)).split("\0")
    return {name: driver for name, driver in zip(said[0::3], said[2::3], strict=False) if driver in drivers}


def without_filters(top: Path) -> list[str]:
    """git's options for a command that is to run none."""
    settings = [f"filter.{driver}.{key}=" for driver in sorted(_drivers(top)) for key in KEYS]
    settings += [f"filter.{driver}.required=false" for driver in sorted(_drivers(top))]
    return [part for setting in settings for part in ("-c", setting)]


def _drivers(top: Path) -> set[str]:
    said = run_git(top, "config", "--null", "--name-only", "--get-regexp", r"^filter\..*").stdout
    keys = [KEY.fullmatch(key) for key in said.split("\0")]
    return {key["driver"] for key in keys if key}


def plain(top: Path, name: str, blob: str, driver: str) -> bytes:
    """A file of the last commit as it is on disk. Raises TemplateError if its filter fails."""
    try:
        return git_bytes(top, "cat-file", "--filters", f"--path={name}", blob)
    except TemplateError as error:
        raise _fails(name, driver, error) from None


def comes_back(top: Path, name: str, blob: str, driver: str, content: bytes) -> bool:
    """Whether the filter makes this content of the blob: one that keeps a secret out of git doesn't, or it may fail."""
    try:
        return plain(top, name, blob, driver) == content
    except TemplateError:
        return False


def filtered(top: Path, name: str, content: bytes, driver: str) -> str:
    """The blob that git has for a file with this content. Raises TemplateError if its filter fails."""
    try:
        return git_bytes(top, "hash-object", "-w", "--stdin", f"--path={name}", given=content).decode().strip()
    except TemplateError as error:
        raise _fails(name, driver, error) from None


def _fails(name: str, driver: str, error: TemplateError) -> TemplateError:
    return TemplateError(
        f"{name} is to change, and git keeps it under the filter {driver!r}, which fails here ({error}). Nothing was "
        "changed. With the filter's program, and its key, it can be done."
    )
