"""Taking back what a command did, as long as it is not committed: these paths, byte for byte, and no others."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from queue_template.files import clear, files_in, is_folder, put, remove
from queue_template.filters import comes_back, names_under_a_filter
from queue_template.git import SOMEBODY, TemplateError, git, git_bytes, run_git
from queue_template.index import LINK, Entry, Indexed, index, lay_out, put_into_index, refresh, tree
from queue_template.project import Project, some
from queue_template.record import Record, Touched, copy_of, forget, load, save

KEPT = "refs/template/undone/"
"""One for each, so that git keeps them all."""


def begin(project: Project, what: str, names: list[str], conflicts: list[str]) -> Record:
    """Note that these paths are about to be written, and copy what is there."""
    folder = project.git_folder()
    forget(folder)
    copy_of(folder, 0).parent.mkdir()
    committed, indexed = tree(project.top, "HEAD", project.prefix), index(project.top, project.prefix)
    touched, folders = [], {}
    for number, name in enumerate(names):
        path = project.top / name
        there = os.path.lexists(path) and (path.is_symlink() or not path.is_dir())
        if there:
            shutil.copy2(path, copy_of(folder, number), follow_symlinks=False)
        touched.append(Touched(name, committed.get(name), indexed.get(name), there))
        for parent in path.parents:
            if parent.is_relative_to(project.path) and parent.is_dir():
                folders[parent.relative_to(project.top).as_posix()] = parent.stat().st_mode & 0o7777
    record = Record(what, project.head(), done=False, conflicts=conflicts, touched=touched, folders=folders)
    save(folder, record)
    return record


def undo(project: Project) -> str:
    """Set back what the last command touched. Returns what was undone, and where the state before is kept.

    Raises TemplateError if there is nothing to undo, or if it was committed.
    """
    folder = project.git_folder()
    record = load(folder)
    if record is None:
        raise TemplateError("There is nothing to undo: no update is waiting to be committed.")
    if record.touched is None:
        record = _of_an_older_tool(project, record)
    touched = record.touched or []
    committed = tree(project.top, "HEAD", project.prefix)
    if any(committed.get(one.name) != one.committed for one in touched):
        save(folder, replace(record, done=True))
        raise TemplateError(
            f"'{record.what}' is not waiting to be committed any more, so there is nothing to undo; "
            "what was committed is taken back by: git revert"
        )
    staged = git(project.top, "diff", "--cached", "--name-only", "--no-renames", "-z", "HEAD").split("\0")
    if record.done and not {one.name for one in touched} & set(staged):
        forget(folder)
        raise TemplateError(f"Nothing of '{record.what}' is staged any more, so there is nothing to undo.")
    for one in touched:
        clear(project.top / one.name)
    _check_the_way(project, touched)
    kept = _keep(project, [one.name for one in touched])
    save(folder, replace(record, done=False))  # if this is broken off, it is done again
    try:
        take_back(project, record)
    except OSError as error:
        raise TemplateError(f"Not all could be set back: {error}. Then try again; nothing is lost.") from None
    return (
        f"Undone: {record.what}. What was there is kept in {kept[:10]}: git diff HEAD {kept[:10]}, "
        f"or for one file: git checkout {kept[:10]} -- FILE"
    )


def take_back(project: Project, record: Record) -> None:
    """Set back all that the record has. It can be done again if it was broken off."""
    folder, touched = project.git_folder(), record.touched or []
    there = {project.top / name for name in record.folders}
    for one in touched:
        clear(project.top / one.name)
        if not one.copied:
            remove(project.top / one.name, there | {project.path})
    for number, one in enumerate(touched):
        if one.copied:
            _make_folders(project, one.name, record.folders)
            put(copy_of(folder, number), project.top / one.name)
    before, wanted = index(project.top, project.prefix), {one.name: one.indexed for one in touched}
    if any(before.get(name) != indexed for name, indexed in wanted.items()):
        put_into_index(project.top, wanted)
    refresh(project.top, [name for name, indexed in wanted.items() if indexed])
    forget(folder)


def _make_folders(project: Project, name: str, modes: dict[str, int]) -> None:
    for parent in reversed((project.top / name).parents):
        if parent.is_relative_to(project.path) and not parent.exists():
            parent.mkdir()
            if mode := modes.get(parent.relative_to(project.top).as_posix()):
                parent.chmod(mode)


def _check_the_way(project: Project, touched: list[Touched]) -> None:
    """Raise TemplateError if a folder is now where a file was, or the reverse: it is the user's, and stays."""
    ours, found = {project.top / one.name for one in touched}, []
    for path in ours:
        above = [parent for parent in path.parents if parent.is_relative_to(project.path) and parent not in ours]
        if any(os.path.lexists(parent) and not is_folder(parent) for parent in above) or (
            is_folder(path) and not ours.issuperset(files_in(path))
        ):
            found.append(path.relative_to(project.top).as_posix())
    if found:
        raise TemplateError(
            f"Something else is now in the place of {some(sorted(found))}, or of a folder above. "
            "Move it away, and try again."
        )


def _keep(project: Project, names: list[str]) -> str:
    """A commit of these paths as they are, resolved conflicts too, so that an undo loses no work.

    Where the index has something else, that is kept as well: as the commit's second parent.
    """
    disk = _as_they_are(project, names)
    indexed = index(project.top, project.prefix)
    staged = {name: found.stages[0] for name in names if (found := indexed.get(name)) and 0 in found.stages}
    head = project.head()
    parents = ["-p", head]
    if any(disk.get(name) != entry for name, entry in staged.items()):
        parents += ["-p", _commit(project, head, dict.fromkeys(names) | staged, "Staged", ["-p", head])]
    kept = _commit(project, head, dict.fromkeys(names) | disk, "Undone", parents)
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


def _commit(project: Project, head: str, changes: dict[str, Entry | None], text: str, parents: list[str]) -> str:
    file = project.git_folder() / "template-undo.index"
    environment = {**SOMEBODY, "GIT_INDEX_FILE": str(file.absolute())}
    try:
        git(project.top, "read-tree", head, environment=environment)
        entries = {name: Indexed({0: entry}) if entry else None for name, entry in changes.items()}
        put_into_index(project.top, entries, environment)
        made = git(project.top, "write-tree", environment=environment).strip()
    finally:
        file.unlink(missing_ok=True)
    return git(project.top, "commit-tree", made, "-m", text, *parents, environment=SOMEBODY).strip()


def _of_an_older_tool(project: Project, record: Record) -> Record:
    """The record with what it touched: all that is staged, and was as in the last commit."""
    if record.head != project.head():
        raise TemplateError(f"'{record.what}' is not waiting to be committed any more, so there is nothing to undo.")
    staged = git(project.top, "diff", "--cached", "--name-only", "--no-renames", "-z", "HEAD").split("\0")
    committed = tree(project.top, "HEAD", project.prefix)
    folder, touched = project.git_folder(), []
    forget(folder)
    laid_out = copy_of(folder, 0).with_name("laid out")
    laid_out.mkdir(parents=True)
    lay_out(project.top, {name: committed[name] for name in staged if name in committed}, laid_out)
    for number, name in enumerate(filter(None, staged)):
        entry = committed.get(name)
        if entry:
            (laid_out / name).replace(copy_of(folder, number))
        touched.append(Touched(name, entry, Indexed({0: entry}) if entry else None, entry is not None))
    save(folder, replace(record, touched=touched))
    return replace(record, touched=touched)
