"""One change from start to end: render, merge elsewhere, show, ask, merge here."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queue_template import blobs
from queue_template.answers import answers_of
from queue_template.apart import Commits, set_apart
from queue_template.fitting import fit_renders, take_over_record
from queue_template.git import COMMAND, TemplateError, git, run_git
from queue_template.in_the_way import check_nothing_is_in_the_way
from queue_template.index import lay_out, lay_out_raw, tracked_size, tree
from queue_template.lines import LINE
from queue_template.mend import OURS
from queue_template.merge import Outcome, merge
from queue_template.plan import Step, steps_of
from queue_template.project import Project, check_clean, commit_command, some
from queue_template.queues import answers_now, says_itself
from queue_template.releases import Releases
from queue_template.render import render_both
from queue_template.skip import patterns_of
from queue_template.writing import carry_out

KINDS = {"A": "new", "D": "deleted", "M": "changed", "U": "CONFLICT", "R": "renamed", "T": "changed"}
ROOM = 128 * 2**20
"""Bytes: far more than two clones of the template and two renders. The project is written out there, too. Where
TMPDIR has less, git's own folder is used."""
NOT_DONE = 1
CONFLICTS = 3
"""The exit codes after a no, and while conflicts wait for the user."""


@dataclass(frozen=True)
class Change:
    """What is to be done.

    Attributes:
        what: in a few words, for the user and as a commit's message.
        commit: the template's commit to go to.
        answers: all answers to go to.
        dropped: a queue whose handler is deleted even if it was edited.
        recorded: whether the answers are written down, even if the project says by itself what they are.
    """

    what: str
    commit: str
    answers: dict[str, Any]
    dropped: str | None = None
    recorded: bool = True


@dataclass(frozen=True)
class Options:
    """How a command was called."""

    yes: bool = False
    diff: bool = False


@contextmanager
def opened(project: Project, *, fresh: bool) -> Iterator[tuple[Releases, Path, dict[str, Any]]]:
    """The template, a scratch folder, and `.cruft.json`.

    The template is only fetched if it must be `fresh`, or if the project's own commit of it is not there yet.
    """
    state = project.state()
    releases = Releases(state["template"], project.path, project.mirror())
    if fresh or not releases.has(state["commit"]):
        releases.fetch()
    needed = ROOM + tracked_size(project.top, project.prefix)
    folder = None if shutil.disk_usage(tempfile.gettempdir()).free > needed else project.git_folder()
    with tempfile.TemporaryDirectory(prefix="template-", dir=folder, ignore_cleanup_errors=True) as name:
        yield releases, Path(name).resolve(), state


def apply(
    project: Project,
    options: Options,
    releases: Releases,
    scratch: Path,
    change: Change,
    before_asking: Callable[[Commits], None] = lambda _: None,
) -> int:
    """Do the change. Returns the exit code: 0, 1 for a no, 3 if conflicts are left."""
    state = project.state()
    before = answers_now(project, state)
    blobs.fetch(project.top, tree(project.top, "HEAD", project.prefix).values())
    old, new = render_both(
        releases.folder,
        scratch,
        state,
        patterns_of(project, state),
        (state["commit"], before),
        (change.commit, change.answers),
    )
    _check_answers(change.answers, new.state, before)
    new.state["checkout"] = releases.tag(change.commit)
    written = change.recorded or not says_itself(project, state, new.state)
    take_over_record(project, old.path, new.path, written=written)
    fit_renders(project, old.path, new.path)
    label = f"template {releases.name(change.commit)}"
    commits = set_apart(project, scratch, old, new, label, change.dropped)
    tried = commits.folder
    outcome = merge(project, tried, commits, new.state if written else state)
    listed = git(tried, "diff", "--cached", "--name-status", "HEAD")
    if not listed:
        print("Nothing changes.")
        return 0
    show(project, change.what, listed, outcome)
    if written:
        show_answers(before, answers_of(new.state))
    if options.diff:
        print(git(tried, "diff", "HEAD"))
    steps, out = steps_of(project, commits), scratch / "out"
    lay_out(project.top, {step.name: step.disk for step in steps if step.disk and not step.is_loose}, out)
    for step in steps:
        if step.disk and step.is_loose:  # as it is: git, which ignores it, converts nothing of it
            lay_out_raw(project.top, step.name, step.disk, out)
    names = [step.name for step in steps]
    check_clean(project, written=names)
    check_nothing_is_in_the_way(project, steps, out)
    before_asking(commits)
    if not agreed(options, lambda: git(tried, "diff", "HEAD")):
        print("Nothing was changed.")
        return NOT_DONE
    check_clean(project, written=names)  # the user may have gone on working before the yes
    _check_head(project, steps)
    carry_out(project, change.what, steps, out)
    return finish(project, _commit(project, change.what, names), outcome)


def _check_head(project: Project, steps: list[Step]) -> None:
    committed = tree(project.top, "HEAD", project.prefix)
    if moved := [step.name for step in steps if committed.get(step.name) != step.before]:
        raise TemplateError(f"Committed in the meantime: {some(project.local(moved))}. Nothing was changed; try again.")


def _check_answers(wanted: dict[str, Any], made: dict[str, Any], before: dict[str, Any]) -> None:
    known = answers_of(made)
    unknown = [name for name in wanted if name not in known and name not in before]
    if unknown:
        raise TemplateError(f"There is no answer {', '.join(unknown)}; there are: {', '.join(known)}.")


def _commit(project: Project, what: str, names: list[str]) -> str:
    """What commits it. The tests bring the lock up to date, where the requirements changed."""
    command = commit_command(project, what, names)
    changed = f"{project.prefix}pyproject.toml" in names and (project.path / "uv.lock").is_file()
    plainly = {"GIT_LITERAL_PATHSPECS": "0"}  # which this command can't take, and doesn't need
    if not changed or run_git(project.path, "check-ignore", "-q", "uv.lock", environment=plainly).returncode == 0:
        return command
    of_some = " -- " in command and not command.endswith(" -- .")
    return f"git add uv.lock && {command}{' uv.lock' if of_some else ''}"


def show_answers(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print which answers change."""
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) != after.get(name):
            old, new = (repr(answers[name]) if name in answers else "(none)" for answers in (before, after))
            print(f"  answer    {name}: {old} -> {new}")


def show(project: Project, what: str, listed: str, outcome: Outcome) -> None:
    """Print what a merge changes."""
    print(f"{what}:")
    for line in listed.splitlines():
        kind, *names = line.split("\t")
        print(f"  {KINDS.get(kind[0], kind):9} {' -> '.join(project.local(names))}")
    for names, text in (
        (outcome.mended, "both sides changed neighbouring lines, and were put together; look at it"),
        (outcome.kept, "stays as you have it; the template deletes it"),
        (outcome.own, "stays as you have it; the template has another one"),
        (outcome.stay_deleted, "stays deleted, though the template changed it"),
        (outcome.loose, "git ignores it, or has none of it: it is changed on disk alone"),
    ):
        for name in project.local(names):
            print(f"  note      {name}: {text}")


def agreed(options: Options, diff: Callable[[], str]) -> bool:
    """Ask the user, unless they said `--yes`. The end of what is to be read is a no."""
    if options.yes:
        return True
    while True:
        try:
            answer = input("Do this? [y]es, [n]o, show the [d]iff: ").strip().lower()[:1]
        except EOFError:
            print("\nThere is nobody to ask. With --yes it is done (make: YES=1).")
            return False
        if answer == "d":
            print(diff())
        elif answer in ("y", "n", ""):
            return answer == "y"


def finish(project: Project, commit: str, outcome: Outcome) -> int:
    """Say what is next, the command that commits it in the end. Returns the exit code."""
    for said in outcome.by_hand:
        print(f"\nLeft to you: {said}")
    if not outcome.conflicts and outcome.by_hand:
        print(
            f"\nThe rest is done and staged. When that is done, too: git add FILE, and: {commit}\n"
            f"Or take it back: {COMMAND} undo"
        )
        return CONFLICTS
    if not outcome.conflicts:
        print(
            f"\nDone and staged. Look at it (git diff --staged), run the tests, then: {commit}\n"
            f"Or take it back: {COMMAND} undo"
        )
        return 0
    print("\nConflicts, where you and the template changed the same lines, or neighbouring ones:")
    for name in project.local(outcome.conflicts):
        file = project.path / name
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        at = [
            str(number)
            for number, line in enumerate(LINE.findall(text), 1)
            if OURS.fullmatch(line.replace("\r\n", "\n"))
        ]
        print(f"  {name}{': line ' + ', '.join(at) if at else ''}")
    if "Makefile" in project.local(outcome.conflicts):
        print("make reads the Makefile, and can't run before that is resolved; the undo below can.")
    print(
        "In each: first comes yours, from ||||||| on what the template had, from ======= on what it has now. Make\n"
        "of it what is right, delete the marks, and: git add FILE. The answers in\n"
        f"{project.state_file.name} are the new ones, and staged. At the end: {commit}\n"
        f"Or take all of it back: {COMMAND} undo"
    )
    return CONFLICTS
