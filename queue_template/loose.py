"""Files of the template's that git does not have, though they are there: somebody's rule has it ignore their folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from queue_template.files import is_folder
from queue_template.git import run_git
from queue_template.index import joined
from queue_template.project import Project


def on_disk(project: Project, names: Iterable[str]) -> dict[str, bytes]:
    """The content of those of the names, from the repository's folder on, that are files in the project's folders."""
    found = {name: project.top / name for name in names}
    return {name: path.read_bytes() for name, path in found.items() if _is_own(project, path)}


def _is_own(project: Project, path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    above = [folder for folder in path.parents if folder.is_relative_to(project.path) and folder != project.path]
    return all(is_folder(folder) and not os.path.lexists(folder / ".git") for folder in above)


def in_ignored_folders(project: Project, names: Iterable[str], before: Iterable[str], ours: Iterable[str]) -> set[str]:
    """Those of the new names that git ignores, in folders that the template had before, and of which git has no file.

    In another folder they are put into the index, as a project whose new modules are ignored would not start elsewhere.
    """
    folders = _folders(before) - _folders(ours)
    asked = [name for name in names if name.rpartition("/")[0] in folders]
    plainly = {"GIT_LITERAL_PATHSPECS": "0"}  # which this command can't take, and doesn't need
    said = run_git(project.top, "check-ignore", "-z", "--stdin", given=joined(asked), environment=plainly)
    return set(filter(None, said.stdout.split("\0")))


def _folders(names: Iterable[str]) -> set[str]:
    return {name.rpartition("/")[0] for name in names}
