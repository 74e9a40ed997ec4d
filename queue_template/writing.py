"""Writing a change into the user's repository: each file in one step, the index in one, and all of it to be undone."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from queue_template.files import put, remove
from queue_template.git import TemplateError
from queue_template.index import Indexed, put_into_index, refresh
from queue_template.plan import Step
from queue_template.project import Project
from queue_template.record import Record, Touched, save
from queue_template.undo import begin, take_back


def carry_out(project: Project, what: str, steps: list[Step], out: Path) -> None:
    """Do the steps, with the content from `out`. Raises TemplateError if that fails: then all is as it was."""
    try:
        record = begin(project, what, [step.name for step in steps], [step.name for step in steps if step.conflict])
    except OSError as error:
        raise TemplateError(f"What is there can't be copied: {error}. Nothing was changed.") from None
    try:
        write(project, record, steps, out)
    except BaseException as error:
        try:
            take_back(project, record)
        except (TemplateError, OSError) as second:
            raise TemplateError(f"{error} What was begun could not be taken back, either: {second}") from error
        if isinstance(error, OSError):
            raise TemplateError(f"It can't be written: {error}. Nothing was changed.") from None
        raise


def write(project: Project, record: Record, steps: list[Step], out: Path) -> None:
    """Do the steps, and note at the end that they are done."""
    before = {one.name: one for one in record.touched or []}
    for step in steps:
        if step.disk is None:
            remove(project.top / step.name, [project.path])
    for step in steps:
        if step.disk and not _left_out(step, before[step.name]):
            path = project.top / step.name
            path.parent.mkdir(parents=True, exist_ok=True)
            put(out / step.name, path, _mode(path, out / step.name, step))
    put_into_index(project.top, {step.name: _indexed(step, before[step.name]) for step in steps})
    refresh(project.top, [step.name for step in steps if step.indexed])
    save(project.git_folder(), replace(record, done=True))


def _left_out(step: Step, before: Touched) -> bool:
    """Whether git knows the file, and it is not on disk: a sparse checkout. A conflict has to be there to be seen."""
    return before.indexed is not None and not before.copied and not step.conflict


def _mode(path: Path, made: Path, step: Step) -> int | None:
    """The permissions that the user gave the file, unless the change makes it a program, or none. None for a link."""
    if made.is_symlink():
        return None
    if path.is_symlink() or not path.is_file():
        return stat.S_IMODE(made.stat().st_mode)
    mode = stat.S_IMODE(path.stat().st_mode)
    if step.before and step.disk and step.before.mode != step.disk.mode:
        return mode | (mode & 0o444) >> 2 if step.disk.mode == "100755" else mode & ~0o111
    return mode


def _indexed(step: Step, before: Touched) -> Indexed | None:
    """With what the user told git of the file."""
    if step.indexed is None or step.conflict or before.indexed is None:
        return step.indexed
    return replace(step.indexed, skipped=before.indexed.skipped, unwatched=before.indexed.unwatched)
