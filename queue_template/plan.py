"""What a merge changes in the user's repository, path by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from queue_template.apart import Commits, hand_over
from queue_template.filters import filtered
from queue_template.git import git, git_bytes
from queue_template.index import SUBMODULE, Entry, Indexed, index, tree
from queue_template.project import Project


@dataclass(frozen=True)
class Step:
    """What becomes of one path.

    Attributes:
        name: from the repository's folder on.
        before: what the last commit has there.
        indexed: what the index is to have there; None for a file that goes.
        disk: what is to be on disk.
        loose: what is on disk now of a file that git does not have, and is merged all the same.
    """

    name: str
    before: Entry | None
    indexed: Indexed | None
    disk: Entry | None
    loose: Entry | None = None

    @property
    def is_loose(self) -> bool:
        """Whether git is to have none of it, though it is on disk."""
        return self.indexed is None and self.disk is not None

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
    committed = tree(project.top, "HEAD", project.prefix) if commits.filtered or commits.loose else ours
    steps = []
    for name in names:
        before, indexed, disk = committed.get(name), made.get(name), on_disk[name]
        if name in commits.loose:
            steps.append(Step(name, None, None, disk, commits.loose[name]))
            continue
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
