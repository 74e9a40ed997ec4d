"""What a merge changes in the user's repository, path by path, and what is in its way there."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from queue_template.apart import Commits, hand_over
from queue_template.filters import filtered
from queue_template.git import TemplateError, git, git_bytes, run_git
from queue_template.index import LINK, SUBMODULE, Entry, Indexed, index, joined, tree
from queue_template.project import Project, some


@dataclass(frozen=True)
class Step:
    """What becomes of one path.

    Attributes:
        name: from the repository's folder on.
        before: what the last commit has there.
        indexed: what the index is to have there; None for a file that goes.
        disk: what is to be on disk.
    """

    name: str
    before: Entry | None
    indexed: Indexed | None
    disk: Entry | None

    @property
    def conflict(self) -> bool:
        """Whether the user has to resolve it."""
        return self.indexed is not None and 0 not in self.indexed.stages


def steps_of(project: Project, commits: Commits) -> list[Step]:
    """The steps from the user's last commit to the merge, and all they need put into the user's repository."""
    folder = commits.folder
    ours, made = tree(folder, "HEAD"), index(folder)
    changed = [
        name for name in ours.keys() | made.keys() if name not in made or made[name] != _as_committed(ours, name)
    ]
    names = sorted(changed)
    on_disk = {name: _on_disk(folder, name, made.get(name)) for name in names}
    entries = [entry for name in names if name in made for entry in made[name].stages.values()]
    entries += [entry for entry in on_disk.values() if entry]
    hand_over(project, commits, {entry.blob for entry in entries if entry.mode != SUBMODULE})
    committed = tree(project.top, "HEAD", project.prefix) if commits.filtered else ours
    steps = []
    for name in names:
        before, indexed, disk = committed.get(name), made.get(name), on_disk[name]
        if name in commits.filtered:
            stages = indexed.stages if indexed else {}
            git_has = {ours[name].blob: committed[name].blob} if name in ours else {}
            for blob in {entry.blob for entry in (*stages.values(), disk) if entry} - git_has.keys():
                git_has[blob] = _through(project, commits, name, blob)
            if indexed:
                indexed = Indexed({stage: Entry(one.mode, git_has[one.blob]) for stage, one in stages.items()})
            disk = Entry(disk.mode, git_has[disk.blob]) if disk else None
        steps.append(Step(name, before, indexed, disk))
    return steps


def _as_committed(ours: dict[str, Entry], name: str) -> Indexed | None:
    return Indexed({0: ours[name]}) if name in ours else None


def _on_disk(folder: Path, name: str, made: Indexed | None) -> Entry | None:
    if made is None:
        return None
    if 0 in made.stages:
        return made.stages[0]
    file = folder / name
    if not file.is_file():
        return None
    blob = git(folder, "hash-object", "-w", "--no-filters", "--", name).strip()
    return Entry(next(made.stages[stage].mode for stage in (2, 3, 1) if stage in made.stages), blob)


def _through(project: Project, commits: Commits, name: str, blob: str) -> str:
    content = git_bytes(commits.folder, "cat-file", "blob", blob)
    return filtered(project.top, name, content, commits.filtered[name])


def check_nothing_is_in_the_way(project: Project, steps: list[Step], out: Path) -> None:
    """Raise TemplateError if the user has something where the change would write or delete, which git has not."""
    found = dict(_in_the_way(project, steps, out))
    if not found:
        return
    plainly = {"GIT_LITERAL_PATHSPECS": "0"}  # which this command can't take, and doesn't need
    words = ("check-ignore", "-z", "--stdin")
    ignored = run_git(project.top, *words, given=joined(found), environment=plainly).stdout.split("\0")
    lines = [f"  {name}: {why}{', and git ignores it' if name in ignored else ''}" for name, why in found.items()]
    raise TemplateError(
        "In the way of this change is what is on disk and not in the last commit:\n"
        + "\n".join(lines[:8] + ([f"  and {some(list(found)[8:])}"] if len(lines) > 8 else []))
        + "\nNothing was changed. Move it away, or commit it (git add --force FILE); or have the template leave out "
        "what it\nwould bring, by a pattern in pyproject.toml: [tool.cruft] skip = [...]"
    )


def _in_the_way(project: Project, steps: list[Step], out: Path) -> Iterator[tuple[str, str]]:
    going = {step.name for step in steps if step.disk is None}
    for step in steps:
        path = project.top / step.name
        if SUBMODULE in {entry.mode for entry in (step.before, step.disk) if entry}:
            yield step.name, "a submodule"
        elif blocked := _blocked(project, path, going):
            yield blocked
        elif not os.path.lexists(path):
            continue  # of a tracked file that is not there, git knows: a sparse checkout
        elif path.is_dir() and not path.is_symlink():
            own = [name for name in _files(project.top, path) if name not in going]
            if own or not going:
                yield step.name, f"a folder{f', with {some(own)}' if own else ''}"
        elif step.before is not None:
            if not is_at(project, path, step.name, step.before):
                yield step.name, "changed, and git was told not to look at it (assume-unchanged, skip-worktree)"
        elif path != project.state_file and (step.disk is None or not _same(path, out / step.name)):
            yield step.name, "a file of yours, which the template brings too"


def _blocked(project: Project, path: Path, going: set[str]) -> tuple[str, str] | None:
    """What is above this path that is no folder of the project's."""
    for folder in reversed(path.parents):
        if folder == project.path or not folder.is_relative_to(project.path):
            continue
        name = folder.relative_to(project.top).as_posix()
        if folder.is_symlink():
            return name, "a link, through which nothing is written"
        if folder.exists() and not folder.is_dir() and name not in going:
            return name, "a file, where the template has a folder"
        if os.path.lexists(folder / ".git"):
            return name, "another repository"
    return None


def _files(top: Path, folder: Path) -> list[str]:
    return [
        (Path(parent) / name).relative_to(top).as_posix()
        for parent, folders, files in os.walk(folder)
        for name in (*files, *(name for name in folders if (Path(parent) / name).is_symlink()))
    ]


def is_at(project: Project, path: Path, name: str, entry: Entry) -> bool:
    """Whether this is what is on disk, as far as git is concerned."""
    link = path.is_symlink()
    if link != (entry.mode == LINK) and not (entry.mode == LINK and path.is_file()):  # a link is a file on Windows
        return False
    content = os.fsencode(path.readlink()) if link else path.read_bytes()
    if _blob_id(content, entry.blob) == entry.blob:
        return True
    return not link and run_git(project.top, "hash-object", "--", name).stdout.strip() == entry.blob


def _blob_id(content: bytes, like: str) -> str:
    algorithm = hashlib.sha256 if len(like) == 64 else hashlib.sha1
    return algorithm(b"blob %d\0" % len(content) + content).hexdigest()


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    if not one.is_file():
        return False
    runs = [bool(file.stat().st_mode & stat.S_IXUSR) for file in (one, other)]
    return runs[0] == runs[1] and one.read_bytes() == other.read_bytes()
