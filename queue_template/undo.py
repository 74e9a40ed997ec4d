"""Taking back what a command did: what still is as it left it, in the index and on disk, and nothing else."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from queue_template.files import exchange, files_in, is_folder, print_of, prune, tidy
from queue_template.git import TemplateError
from queue_template.index import index, put_into_index, refresh, stages_of, tree
from queue_template.kept import keep
from queue_template.project import Project, some
from queue_template.record import Record, Touched, forget, load, original_of, save

UNFINISHED = (None, f"file {hashlib.sha256(b'').hexdigest()}")
"""What a command that is killed may leave at a path for a moment."""


@dataclass
class Found:
    """What there is to take back.

    Attributes:
        index: the paths at which the index is as the command made it.
        disk: the paths at which the disk is to be set back, by number, with what is there now.
        edited: those of them that were changed since.
        committed, left: the paths at which there is something else: what was committed since, or changed.
    """

    index: list[Touched]
    disk: dict[int, str | None]
    edited: list[str]
    committed: list[str]
    left: list[str]


def undo(project: Project) -> str:
    """Set back what the last command touched. Returns what was undone, and where the state before is kept.

    Raises TemplateError if nothing of it is there any more. Then the note of it stays: it may come out of a stash.
    """
    folder = project.undo_folder()
    record = load(folder)
    if record is None:
        raise TemplateError("There is nothing to undo: nothing that a command did is waiting to be committed.")
    _tidy(project, record)
    found = find(project, record, edited_too=True)
    if record.done and not found.disk and not found.index:
        raise TemplateError(_nothing(project, record, found))
    names = [record.touched[number].name for number in found.disk]
    _check_the_way(project, names)
    kept = keep(project, folder, names) if names else None
    save(folder, replace(record, done=False))  # if this is broken off, it is done again
    try:
        _set_back(project, record, found)
    except OSError as error:
        raise TemplateError(f"Not all could be set back: {error}. Then try again; nothing is lost.") from None
    return "\n".join([f"Undone: {record.what}.{_where(kept)}", *_beside(project, record, found)])


def take_back(project: Project, record: Record) -> list[str]:
    """Set back all that the command wrote. Returns the paths at which somebody else has done so meanwhile."""
    _tidy(project, record)
    found = find(project, record, edited_too=False)
    _set_back(project, record, found)
    return found.left


def find(project: Project, record: Record, *, edited_too: bool) -> Found:
    """What is still as the command made it.

    What git ignores goes with the rest: it stays if all else is committed, or in a stash.

    `edited_too`: where the index is, what is on disk counts as the command's, edited since; and where git ignores it.
    """
    folder = project.undo_folder()
    committed, indexed = tree(project.top, "HEAD", project.prefix), index(project.top, project.prefix)
    found = Found([], {}, [], [], [])
    for number, one in enumerate(record.touched):
        there, disk = indexed.get(one.name), print_of(project.top / one.name)
        if committed.get(one.name) != one.committed:
            found.committed.append(one.name)
            continue
        staged = stages_of(there) == stages_of(one.staged) != stages_of(one.indexed)
        written = disk == one.written or (not record.done and disk in UNFINISHED and _has_original(folder, number, one))
        if staged:
            found.index.append(one)
        if disk != one.disk and (written or (edited_too and (staged or one.loose))):
            found.disk[number] = disk
            if not written:
                found.edited.append(one.name)
        if not (staged or stages_of(there) == stages_of(one.indexed)) or (
            disk != one.disk and number not in found.disk
        ):
            found.left.append(one.name)
    of_git = {number for number, one in enumerate(record.touched) if not one.loose}
    if record.done and of_git and not found.index and not of_git & found.disk.keys():
        found.disk, found.edited = {}, []
    return found


def _has_original(folder: Path, number: int, one: Touched) -> bool:
    return one.disk is None or os.path.lexists(original_of(folder, number))


def _set_back(project: Project, record: Record, found: Found) -> None:
    """It can be done again if it was broken off."""
    folder = project.undo_folder()
    stay = {project.top / name for name in record.folders} | {project.path}
    for number, one in enumerate(record.touched):
        if one.disk is None:
            path = project.top / one.name
            if number in found.disk:
                exchange(path, found.disk[number], _undone(folder, number), None, record.beside(path, number))
            prune(path.parent, stay)
    for number, one in enumerate(record.touched):
        if one.disk is not None and number in found.disk:
            path, original = project.top / one.name, original_of(folder, number)
            _make_folders(project, one.name, record.folders)
            exchange(path, found.disk[number], _undone(folder, number), original, record.beside(path, number))
    if found.index:
        put_into_index(project.top, {one.name: one.indexed for one in found.index})
    refresh(project.top, [one.name for one in record.touched if one.indexed])
    forget(folder)


def _undone(folder: Path, number: int) -> Path:
    return folder / f"{number}.undone"


def _make_folders(project: Project, name: str, modes: dict[str, int]) -> None:
    for parent in reversed((project.top / name).parents):
        if parent.is_relative_to(project.path) and not parent.exists():
            parent.mkdir()
            if mode := modes.get(parent.relative_to(project.top).as_posix()):
                parent.chmod(mode)


def _tidy(project: Project, record: Record) -> None:
    for number, one in enumerate(record.touched):
        path = project.top / one.name
        tidy(path, record.beside(path, number))


def _check_the_way(project: Project, names: list[str]) -> None:
    """Raise TemplateError if a folder is now where a file was, or the reverse: it is the user's, and stays."""
    ours, found = {project.top / name for name in names}, []
    for path in ours:
        above = [parent for parent in path.parents if parent.is_relative_to(project.path) and parent not in ours]
        if any(os.path.lexists(parent) and not is_folder(parent) for parent in above) or (
            is_folder(path) and not ours.issuperset(files_in(path))
        ):
            found += project.local([path.relative_to(project.top).as_posix()])
    if found:
        raise TemplateError(
            f"Something else is now in the place of {some(sorted(found))}, or of a folder above. "
            "Move it away, and try again."
        )


def _where(kept: str | None) -> str:
    if kept is None:
        return ""
    short = kept[:10]
    return f" What was there is kept in {short}: git diff HEAD {short}, or for one file: git checkout {short} -- FILE"


def _beside(project: Project, record: Record, found: Found) -> list[str]:
    lines = []
    if found.edited:
        lines.append(f"You had changed {some(project.local(found.edited))} since: that is there, too.")
    if found.committed:
        lines.append(f"Left, since it is committed (git revert takes it back): {some(project.local(found.committed))}")
    if found.left:
        lines.append(f"Left as you have it, since it is not what the change wrote: {some(project.local(found.left))}")
        if any(one.committed and one.name in found.left for one in record.touched):
            lines.append("To have one of these as in the last commit, too: git checkout HEAD -- FILE")
    return lines


def _nothing(project: Project, record: Record, found: Found) -> str:
    if len(found.committed) == sum(not one.loose for one in record.touched):
        return (
            f"'{record.what}' is committed, so there is nothing to undo; what was committed is taken back by: "
            "git revert"
        )
    said = f"Nothing of '{record.what}' is in the index or on disk any more, so there is nothing to undo"
    if found.left or found.committed:
        said += f" (not what it wrote: {some(project.local(sorted(found.left + found.committed)))})"
    return f"{said}. If it is in a stash: git stash pop --index, and then undo."
