"""What is done to files before git merges them, and to modules of Python afterwards, in whatever folder."""

from __future__ import annotations

from pathlib import Path

from queue_template import blobs
from queue_template.content import Finish
from queue_template.form import encoded_like, fitted, text_of
from queue_template.git import git
from queue_template.index import tree
from queue_template.link import MADE_FROM
from queue_template.loose import on_disk
from queue_template.project import Project
from queue_template.queues import FILE as QUEUES
from queue_template.queues import left_to_do


def fit_renders(project: Project, old: Path, new: Path) -> None:
    """Put what differs between two renders into the form of the user's files, with the user's versions."""
    names = {file.relative_to(new).as_posix() for file in new.rglob("*") if file.is_file()}
    pairs = {name: ((old / name).read_bytes(), (new / name).read_bytes()) for name in names if (old / name).is_file()}
    differ = {f"{project.prefix}{name}": name for name, (before, after) in pairs.items() if before != after}
    committed = tree(project.top, "HEAD", project.prefix)
    there = blobs.read(project.top, {name: committed[name] for name in differ.keys() & committed})
    for full, ours in (there | on_disk(project, differ.keys() - committed)).items():
        name = differ[full]
        for folder, data in zip((old, new), fitted(name, ours, *pairs[name]), strict=True):
            (folder / name).write_bytes(data)


def take_over_record(project: Project, old: Path, new: Path, *, written: bool) -> None:
    """`.queue-template.json` is the template's alone: the new one is taken as it is, or else the project's stays."""
    file = project.path / MADE_FROM
    if file.is_file() and (old / MADE_FROM).is_file():
        for folder in (old,) if written else (old, new):
            (folder / MADE_FROM).write_bytes(file.read_bytes())


def finish_queues(folder: Path, prefix: str, old: str, new: str, unmerged: set[str]) -> list[str]:
    """What is left to the user in `queues.yaml` after a merge, in words. Arguments as those of `finish_modules`."""
    name = f"{prefix}{QUEUES}"
    renders = [blobs.read(folder, tree(folder, commit, name)).get(name, b"") for commit in (old, new)]
    if name in unmerged or not (folder / name).is_file():
        return []
    return left_to_do(*(text_of(name, data) for data in (*renders, (folder / name).read_bytes())))


def finish_modules(folder: Path, prefix: str, old: str, new: str, unmerged: set[str]) -> Finish:
    """Have stubs land in the user's handlers, with the imports that they need, after a merge in `folder`.

    Args:
        folder: a repository whose HEAD is the project, with the merge in its working tree and its index.
        prefix: from there to the project.
        old: the commit of the template's render from before.
        new: the one of what it has now.
        unmerged: the files that git could not merge.

    Returns what was done, with names from the project's folder on.
    """
    before, base, theirs = (_modules(folder, prefix, commit) for commit in ("HEAD", old, new))
    left = {name.removeprefix(prefix) for name in unmerged}
    root = folder / prefix
    merged = {name: text_of(name, (root / name).read_bytes()) for name in {*before, *theirs} if (root / name).is_file()}
    finish = Finish(_texts(before), dict(merged), set(left), _texts(base), _texts(theirs))
    finish.run()
    for name, text in finish.merged.items():
        if text != merged.get(name) or name in left - finish.conflicts:
            form = before[name] if name in before else theirs.get(name, b"")
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(encoded_like(name, text, form))
            git(folder, "add", "--force", "--", f"{prefix}{name}")
    for name in merged.keys() - finish.merged.keys():
        git(folder, "rm", "--quiet", "--force", "--", f"{prefix}{name}")
    return finish


def _modules(folder: Path, prefix: str, commit: str) -> dict[str, bytes]:
    places = (f"{prefix}app/", f"{prefix}tests/")
    listed = tree(folder, commit, prefix).items()
    modules = {name: entry for name, entry in listed if name.startswith(places) and name.endswith(".py")}
    return {name.removeprefix(prefix): data for name, data in blobs.read(folder, modules).items()}


def _texts(modules: dict[str, bytes]) -> dict[str, str]:
    return {name: text_of(name, data) for name, data in modules.items()}
