"""Writing a change into the user's repository: each file in one step, the index in one, and all of it to be undone."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

from queue_template.files import changed, exchange, print_of, prune
from queue_template.git import TemplateError
from queue_template.in_the_way import check_nothing_is_in_the_way
from queue_template.index import Indexed, index, put_into_index, refresh, stages_of, tree
from queue_template.plan import Step
from queue_template.project import Project, some
from queue_template.record import Record, Touched, begin, original_of, save
from queue_template.undo import take_back


def carry_out(project: Project, what: str, steps: list[Step], out: Path) -> None:
    """Do the steps, with the content from `out`. Raises TemplateError if that fails: then all is as it was."""
    try:
        record = planned(project, what, steps, out)
    except OSError as error:
        raise TemplateError(f"What is there can't be read: {error}. Nothing was changed.") from None
    # After it was looked at. So what is then replaced is what git has, or it is not what was looked at.
    check_nothing_is_in_the_way(project, steps, out)
    try:
        write(project, record, steps, out)
    except BaseException as error:
        try:
            left = take_back(project, record)
        except (TemplateError, OSError) as second:
            raise TemplateError(f"{error} What was begun could not be taken back, either: {second}") from error
        if isinstance(error, OSError):
            rest = f"All but {some(project.local(left))} is as it was." if left else "Nothing was changed."
            raise TemplateError(f"It can't be written: {error}. {rest}") from None
        if left and isinstance(error, TemplateError):
            raise TemplateError(f"{error} All but {some(project.local(left))} is as it was.") from None
        raise


def planned(project: Project, what: str, steps: list[Step], out: Path) -> Record:
    """What is there, and what the steps make of it."""
    committed, indexed = tree(project.top, "HEAD", project.prefix), index(project.top, project.prefix)
    touched, folders = [], {}
    for step in steps:
        path, before = project.top / step.name, indexed.get(step.name)
        disk, written = print_of(path), None
        left_out = before is not None and disk is None and not step.conflict  # by a sparse checkout
        if step.disk and not left_out:
            written = print_of(out / step.name, _mode(path, out / step.name, step))
        touched.append(Touched(step.name, committed.get(step.name), before, _indexed(step, before), disk, written))
        for parent in path.parents:
            if parent.is_relative_to(project.path) and parent.is_dir():
                folders[parent.relative_to(project.top).as_posix()] = parent.stat().st_mode & 0o7777
    return Record(what, False, [step.name for step in steps if step.conflict], touched, folders)


def write(project: Project, record: Record, steps: list[Step], out: Path) -> None:
    """Do the steps, between a first note and one that they are done."""
    folder, made = project.undo_folder(), []
    begin(folder, record)
    for number, (step, one) in enumerate(zip(steps, record.touched, strict=True)):
        path, away = project.top / step.name, original_of(folder, number)
        if one.written is not None:
            made.append((path, one.disk, away, out / step.name, record.beside(path, number), step))
        elif step.disk is None:
            exchange(path, one.disk, away, None, record.beside(path, number))
            prune(path.parent, [project.path])
    for path, disk, away, source, beside, step in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        exchange(path, disk, away, source, beside, _mode(path, source, step))
    for number, one in enumerate(record.touched):  # by a program that had it open
        if one.disk != one.written and one.disk != print_of(original_of(folder, number)):
            raise changed(project.top / one.name)
    there = index(project.top, project.prefix)
    if staged := [one.name for one in record.touched if stages_of(there.get(one.name)) != stages_of(one.indexed)]:
        raise TemplateError(f"Staged while this ran: {some(project.local(staged))}. Try again.")
    put_into_index(project.top, {one.name: one.staged for one in record.touched})
    refresh(project.top, [step.name for step in steps if step.indexed])
    save(folder, replace(record, done=True))


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


def _indexed(step: Step, before: Indexed | None) -> Indexed | None:
    """With what the user told git of the file."""
    if step.indexed is None or step.conflict or before is None:
        return step.indexed
    return replace(step.indexed, skipped=before.skipped, unwatched=before.unwatched)
