"""What the user has on disk and git has not, where a change would write or delete: it is refused, and named."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from queue_template.files import files_in, is_folder
from queue_template.filters import comes_back, names_under_a_filter
from queue_template.git import TemplateError, run_git
from queue_template.handlers import FOLDER as HANDLERS
from queue_template.index import LINK, SUBMODULE, Entry, joined
from queue_template.plan import Step
from queue_template.project import Project, some


def check_nothing_is_in_the_way(project: Project, steps: list[Step], out: Path) -> None:
    """Raise TemplateError if the user has something where the change would write or delete, which git has not."""
    found = dict(_in_the_way(project, steps, out))
    if not found:
        return
    plainly = {"GIT_LITERAL_PATHSPECS": "0"}  # which this command can't take, and doesn't need
    words = ("check-ignore", "-z", "--stdin")
    ignored = run_git(project.top, *words, given=joined(found), environment=plainly).stdout.split("\0")
    lines = [
        f"  {project.local([name])[0]}: {why}{', and git ignores it' if name in ignored else ''}"
        for name, why in found.items()
    ]
    raise TemplateError(
        "In the way of this change is what is on disk and not in the last commit:\n"
        + "\n".join(lines[:8] + ([f"  and {some(project.local(found)[8:])}"] if len(lines) > 8 else []))
        + "\nNothing was changed. Move it away, or commit it (git add --force FILE); or have the template leave out "
        "what it\nwould bring, by a pattern in pyproject.toml: [tool.cruft] skip = [...]"
    )


def _in_the_way(project: Project, steps: list[Step], out: Path) -> Iterator[tuple[str, str]]:
    going = {step.name for step in steps if step.disk is None}
    for step in steps:
        path = project.top / step.name
        try:
            if found := _blocked(project, path, going):
                yield found
            elif why := _at(project, path, step, out, going):
                yield step.name, why
        except OSError as error:
            yield step.name, f"it can't be read ({error.strerror})"


def _at(project: Project, path: Path, step: Step, out: Path, going: set[str]) -> str:
    """What is wrong with what is at this very path; empty if nothing is."""
    if SUBMODULE in {entry.mode for entry in (step.before, step.disk) if entry}:
        return "a submodule"
    package = path.with_suffix("")
    if step.name.startswith(f"{project.prefix}{HANDLERS}") and not step.before and (package / "__init__.py").exists():
        return f"a package of yours has its name, {project.local([package.relative_to(project.top).as_posix()])[0]}/"
    if not os.path.lexists(path):
        return ""  # of a tracked file that is not there, git knows: a sparse checkout
    if is_folder(path):
        inside = [file.relative_to(project.top).as_posix() for file in files_in(path)]
        own = [name for name in inside if name not in going]
        return "" if inside and not own else f"a folder, with {some(project.local(own))}" if own else "a folder"
    if step.loose and path.is_file() and _blob_id(path.read_bytes(), step.loose.blob) == step.loose.blob:
        return ""  # it is what was merged
    if step.before is not None:
        return _difference(project, path, step.name, step.before)
    if path == project.state_file or (step.disk and _same(path, out / step.name)):
        return ""  # the tool read it, or it is what the template brings
    return "a file of yours, which the template brings too"


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


def _difference(project: Project, path: Path, name: str, entry: Entry) -> str:
    """Why this is not what is on disk; empty if it is, as far as git is concerned, and git could bring it back."""
    changed = "changed, and git was told not to look at it (assume-unchanged, skip-worktree)"
    link = path.is_symlink()
    if link != (entry.mode == LINK) and not (entry.mode == LINK and path.is_file()):  # a link is a file on Windows
        return changed
    content = os.fsencode(path.readlink()) if link else path.read_bytes()
    if _blob_id(content, entry.blob) == entry.blob:
        return ""
    if link or run_git(project.top, "hash-object", "--", name).stdout.strip() != entry.blob:
        return changed
    driver = names_under_a_filter(project.top, [name]).get(name)
    if driver is None or comes_back(project.top, name, entry.blob, driver, content):
        return ""
    return f"it has what the filter {driver!r} keeps out of git"


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
