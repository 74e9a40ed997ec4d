"""Keeping what an undo takes away: as a commit that is on no branch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from queue_template.filters import comes_back, names_under_a_filter
from queue_template.git import SOMEBODY, git, git_bytes, run_git
from queue_template.index import LINK, Entry, Indexed, put_into_index
from queue_template.project import Project

KEPT = "refs/template/undone/"
"""One for each, so that git keeps them all."""


def keep(project: Project, scratch: Path, names: list[str]) -> str:
    """A commit of these paths as they are on disk, so that an undo loses no work. `scratch` is a folder to work in."""
    changes = dict.fromkeys(names) | _as_they_are(project, names)
    entries = {name: Indexed({0: entry}) if entry else None for name, entry in changes.items()}
    head = project.head()
    # A folder of its own: git's lock of an index, which a kill leaves, is in nobody's way there.
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        environment = {"GIT_INDEX_FILE": str(Path(folder).absolute() / "index")}
        git(project.top, "read-tree", head, environment=environment)
        put_into_index(project.top, entries, environment)
        made = git(project.top, "write-tree", environment=environment).strip()
    kept = git(project.top, "commit-tree", made, "-m", "Undone", "-p", head, environment=SOMEBODY).strip()
    git(project.top, "update-ref", f"{KEPT}{kept}", kept)
    return kept


def _as_they_are(project: Project, names: list[str]) -> dict[str, Entry]:
    found = {}
    for name in names:
        path = project.top / name
        if path.is_symlink():
            target = os.fsencode(path.readlink())
            blob = git_bytes(project.top, "hash-object", "-w", "--stdin", given=target).decode().strip()
            found[name] = Entry(LINK, blob)
        elif path.is_file():
            found[name] = Entry("100755" if os.access(path, os.X_OK) else "100644", _blob(project, name))
    return found


def _blob(project: Project, name: str) -> str:
    """What git makes of a file. Neither a filter that fails here nor one that leaves something out loses it."""
    done = run_git(project.top, "hash-object", "-w", "--", name)
    blob, driver = done.stdout.strip(), names_under_a_filter(project.top, [name]).get(name)
    content = (project.top / name).read_bytes()
    if done.returncode == 0 and (driver is None or comes_back(project.top, name, blob, driver, content)):
        return blob
    return git(project.top, "hash-object", "-w", "--no-filters", "--", name).strip()
