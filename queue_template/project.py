"""A project: where it is, whether it may be changed, and what links it to its template."""

from __future__ import annotations

import hashlib
import os
import posixpath
import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queue_template import record
from queue_template.answers import check_state
from queue_template.filters import names_under_a_filter, without_filters
from queue_template.git import COMMAND, TemplateError, git, run_git
from queue_template.launch import COPIER, CRUFT, link_file, read_link

LINK = f"There is no .cruft.json. Link the project to its template, once: {COMMAND} link URL"
SHOWN = 8
"""So many names fit on a screen."""
READ = ("queues.yaml", ".queue-template.json", CRUFT, COPIER)
"""Files that every change reads from the disk, and compares with what is committed."""
OF_YOUR_OWN = {"MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert"}
"""Files in git's own folder while such a thing goes on, and what it is."""


@dataclass(frozen=True)
class Project:
    """A project in a git repository.

    Attributes:
        path: the project's folder.
        top: the repository's folder, which is the same or above.
        prefix: from `top` to `path`, empty or ending in '/'.
    """

    path: Path
    top: Path
    prefix: str

    @property
    def state_file(self) -> Path:
        """What cruft knows of the project, or what copier does."""
        return link_file(self.path)

    def state(self) -> dict[str, Any]:
        """The content of `.cruft.json`: template, commit, checkout, context, directory, skip. Of copier's file, too."""
        file = self.state_file
        if not file.is_file():
            raise TemplateError(LINK)
        if file.name == CRUFT and (self.path / COPIER).is_file():
            raise TemplateError(f"There are {CRUFT} and {COPIER}, and one links the project. Delete the other: git rm")
        if file.is_symlink():
            raise TemplateError(
                f"{file.name} is a link, and nothing is written through one. Put the file itself there."
            )
        try:
            state = read_link(file)
            check_state(state)
        except (ValueError, KeyError, TypeError) as error:
            check_nothing_is_left(self)
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise TemplateError(
                f"{file.name} can't be read ({why}); git has it as it was: git checkout HEAD -- {file.name}"
            ) from None
        return state

    def git_folder(self) -> Path:
        """git's own folder, of this worktree."""
        return self.top / git(self.top, "rev-parse", "--git-dir").strip()

    def undo_folder(self) -> Path:
        """Where the note of the last change is, in git's own folder: one for each project of a repository."""
        name = hashlib.sha256(self.prefix.encode(errors="surrogateescape")).hexdigest()[:16]
        return self.git_folder() / "template-undo" / name

    def mirror(self) -> Path:
        """Where the template is kept, so that what it has need not be fetched again: in git's own folder, too."""
        common = Path(git(self.top, "rev-parse", "--git-common-dir").strip())
        return self.top / common / "queue-template.git"

    def local(self, names: Iterable[str]) -> list[str]:
        """Names from the repository's folder on, as they are from the project's, where its commands run."""
        return [posixpath.relpath(name, self.prefix or ".") for name in names]

    def head(self) -> str:
        """The commit that is checked out."""
        return git(self.top, "rev-parse", "HEAD").strip()


def find_folder(start: Path | None = None) -> Path:
    """The project's folder: this one, or one above. Raises TemplateError if none of them is a project."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "app" / "queue").is_dir() or ((folder / "queues.yaml").is_file() and link_file(folder).is_file()):
            return folder
    raise TemplateError(f"{here} is not in a project of this template: no folder from here upwards has app/queue.")


def find_project(start: Path | None = None) -> Project:
    """The project here. Raises TemplateError if there is none, if it is in no git repository, or without a commit."""
    path = find_folder(start)
    found = run_git(path, "rev-parse", "--show-toplevel")
    if found.returncode != 0 and "not a git repository" not in found.stderr:
        raise TemplateError(f"git says no: {found.stderr.strip()}")
    if found.returncode != 0 or run_git(path, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
        raise TemplateError(
            "This needs a git repository with a commit, to merge and to undo in. "
            "Make one: git init, git add --all, git commit -m 'From the template'"
        )
    return Project(path, Path(found.stdout.strip()), git(path, "rev-parse", "--show-prefix").strip())


def check_is_free(project: Project, name: str) -> None:
    """Raise TemplateError if something is where this file is to be: a dangling link, too, which git may ignore."""
    if os.path.lexists(project.path / name):
        raise TemplateError(f"{name} is in the way: it is there, and links the project to no template. Move it away.")


def check_nothing_is_left(project: Project) -> None:
    """Raise TemplateError if an earlier update left conflicts, or was broken off.

    Marks that are committed count if this tool wrote them, and files of cruft's if nobody committed them: a user may
    have both among the data of their tests.
    """
    folder = project.undo_folder()
    begun = record.load(folder)
    if begun and not begun.done:
        raise TemplateError(f"'{begun.what}' was broken off. Take back what it had begun: {COMMAND} undo")
    unmerged = git(project.top, "ls-files", "--unmerged", "-z").split("\0")
    left = {line.partition("\t")[2] for line in filter(None, unmerged)} | set(
        record.left_conflicts(folder, project.top)
    )
    others = git(project.path, "ls-files", "--others", "--exclude-standard", "--full-name", "-z").split("\0")
    left |= {name for name in others if name.endswith(".rej")}
    if left:
        there = "" if any(name.startswith(project.prefix) for name in left) else " in the folder of that project"
        raise TemplateError(
            f"Conflicts of an earlier merge are left in: {some(project.local(sorted(left)))}. Resolve "
            "them and commit (apply by hand what is in a .rej file, then delete it), or take the merge back: "
            f"{COMMAND} undo{there}, or git merge --abort if it was a merge of your own"
        )
    for name, what in OF_YOUR_OWN.items():
        if (project.git_folder() / name).exists():
            raise TemplateError(
                f"A {what} of your own is not at its end, and git commits no part of one. First: "
                f"git {what} --continue, or git {what} --abort"
            )


def check_clean(project: Project, read: Iterable[str] = READ, written: Iterable[str] = ()) -> None:
    """Raise TemplateError if an earlier merge is not at its end, or if work in these files is not committed.

    Args:
        project: the project; work in other files of it may lie.
        read: files of the project, from its own folder on.
        written: files that are to be written or deleted, from the repository's folder on.
    """
    check_nothing_is_left(project)
    names = {*written, *(f"{project.prefix}{name}" for name in read)}
    dirty = [line[3:].removeprefix(project.prefix) for line in uncommitted(project) if line[3:] in names]
    if dirty:
        those = shlex.join(dirty) if len(dirty) <= SHOWN else "."
        raise TemplateError(
            f"Not committed, and in the way of this: {some(dirty)}. Commit it or stash it first (git stash push -u -- "
            f"{those}), so that what comes from the template can be told from your own work, and undone "
            "without touching it."
        )


def uncommitted(project: Project) -> list[str]:
    """What `git status` says of the project's folder, in the short format."""
    words = ("status", "--porcelain", "-z", "--no-renames", "--ignore-submodules=dirty", "--", project.prefix or ".")
    done = run_git(project.top, *words)
    if done.returncode == 0:
        return list(filter(None, done.stdout.split("\0")))
    # A filter that can't run here, such as git-lfs without its program. What is under it is looked at before it is
    # written, if it is written at all.
    lines = list(filter(None, git(project.top, *without_filters(project.top), *words).split("\0")))
    filtered = names_under_a_filter(project.top, [line[3:] for line in lines])
    return [line for line in lines if line[3:] not in filtered]


def commit_command(project: Project, what: str, names: Collection[str]) -> str:
    """The command that commits these files, from the repository's folder on, and no other work that is staged."""
    command = f"git commit -m {shlex.quote(what)}"
    staged = git(project.top, "diff", "--cached", "--name-only", "--no-renames", "-z", "HEAD").split("\0")
    own = [name for name in staged if name in names]
    if len(own) == len(staged) - 1:  # the last is empty
        return command
    whole = all(line.startswith("??") or line[3:] in names for line in uncommitted(project))
    return f"{command} -- {'.' if whole else shlex.join(name.removeprefix(project.prefix) for name in own)}"


def some(names: list[str]) -> str:
    """As many of the names as fit on a screen."""
    return ", ".join(names[:SHOWN]) + (f", and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
