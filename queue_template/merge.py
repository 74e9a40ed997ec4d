"""The merge: what the template changed between two renders, into what the user has."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from queue_template.apart import Commits
from queue_template.entries import with_entry_of
from queue_template.facts import says_both
from queue_template.fitting import finish_modules, finish_queues
from queue_template.form import changed, decoded, line_feeds, text_of
from queue_template.git import SOMEBODY, TemplateError, git, git_bytes, run_git
from queue_template.mend import has_marks, is_completed, is_shared, mended
from queue_template.project import Project
from queue_template.render import write_state

OWNED = ("app/queue/handlers/", "tests/handlers/")
"""Where a file of the user's that the template would make, too, is simply the user's."""
OLD_TESTING = "tests/tools/handlers.py"
"""Where `handler_of` was, in projects that were made before it was in `app.queue.testing`."""
OLD_IMPORT, TESTING = "from tests.tools.handlers import ", "from app.queue.testing import "


@dataclass
class Outcome:
    """What a merge did.

    Attributes:
        conflicts: files that need the user.
        mended: files in which both sides changed neighbouring lines, which were put together.
        kept: files that the template no longer has, which are kept because the user edited them.
        own: files of the user's own, in the place of the template's.
        stay_deleted: files that the user deleted and the template changed.
        by_hand: what is left to the user, in words.
        loose: files that git does not have, and that are changed on disk alone.
    """

    conflicts: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    stay_deleted: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    loose: list[str] = field(default_factory=list)


def merge(project: Project, folder: Path, commits: Commits, state: dict[str, object]) -> Outcome:
    """Merge in `folder`, the repository apart, and stage the result there."""
    _give_up_entry(project, folder, commits)
    done = run_git(folder, "cherry-pick", "--no-commit", commits.new, environment=SOMEBODY)
    stages = _unmerged(folder)
    if done.returncode != 0 and not stages:
        raise TemplateError(f"git can't merge here: {done.stderr.strip()}")
    outcome = Outcome(own=list(commits.apart))
    for name, found in stages.items():
        _settle(project, folder, commits, name, found, outcome)
    unmerged = set(_unmerged(folder))
    outcome.loose += sorted(commits.loose.keys() - {*outcome.kept, *outcome.own})
    outcome.by_hand += finish_queues(folder, project.prefix, commits.old, commits.new, unmerged)
    finish = finish_modules(folder, project.prefix, commits.old, commits.new, unmerged)
    outcome.by_hand += finish.by_hand
    outcome.own += [f"{project.prefix}{name}" for name in finish.kept]
    settled = {f"{project.prefix}{name}" for name in finish.settled}
    for listed in (outcome.conflicts, outcome.stay_deleted):
        listed[:] = [name for name in listed if name not in settled]
    _rename_imports(project, folder)
    link = project.state_file.name
    write_state(folder / project.prefix / link, state)
    git(folder, "add", "--force", "--", f"{project.prefix}{link}")
    return outcome


def _give_up_entry(project: Project, folder: Path, commits: Commits) -> None:
    """The entry of a queue that goes is first set back to the template's, so that its removal is no conflict."""
    dropped = commits.dropped
    if dropped is None:
        return
    name = f"{project.prefix}queues.yaml"
    file = folder / name
    base = run_git(folder, "show", f"{commits.old}:{name}")
    if file.is_file() and base.returncode == 0:
        given = text_of(name, base.stdout.encode())
        file.write_bytes(changed(name, file.read_bytes(), lambda text: with_entry_of(given, text, dropped)))
        git(folder, "add", "--", name)


def _rename_imports(project: Project, folder: Path) -> None:
    """Tests that import `handler_of` from a module that is gone import it from where it is now."""
    if (folder / project.prefix / OLD_TESTING).is_file():
        return  # the user edited it, so it stays
    unmerged = _unmerged(folder)
    found = run_git(folder, "grep", "-lzF", OLD_IMPORT, "--", f"{project.prefix}tests")
    for name in filter(None, found.stdout.split("\0")):
        if name.endswith(".py"):
            data = (folder / name).read_bytes()
            (folder / name).write_bytes(changed(name, data, lambda text: text.replace(OLD_IMPORT, TESTING)))
            if name not in unmerged:
                git(folder, "add", "--", name)


def _unmerged(folder: Path) -> dict[str, set[int]]:
    """The stages of every file that git could not merge: 1 the old render, 2 the user's, 3 the new render."""
    stages: dict[str, set[int]] = {}
    for line in filter(None, git(folder, "ls-files", "--unmerged", "-z").split("\0")):
        head, _, name = line.partition("\t")
        stages.setdefault(name, set()).add(int(head.split()[2]))
    return stages


def _settle(project: Project, folder: Path, commits: Commits, name: str, stages: set[int], outcome: Outcome) -> None:
    own = name.removeprefix(project.prefix)
    if name in commits.loose and 2 in stages:
        # No marks of a conflict, which git could not tell of, and nothing is deleted that git could not bring back.
        git(folder, "checkout", "--ours", "--", name)
        git(folder, "add", "--force", "--", name)
        (outcome.own if 3 in stages else outcome.kept).append(name)
    elif stages == {1, 3}:
        git(folder, "rm", "--quiet", "--cached", "--", name)
        (folder / name).unlink(missing_ok=True)
        outcome.stay_deleted.append(name)
    elif stages == {1, 2} and name in commits.dropped_files(project.prefix):
        git(folder, "rm", "--quiet", "--force", "--", name)
    elif stages == {1, 2}:
        git(folder, "add", "--force", "--", name)
        outcome.kept.append(name)
    elif stages == {2, 3} and own.startswith(OWNED):
        git(folder, "checkout", "--ours", "--", name)
        git(folder, "add", "--force", "--", name)
        outcome.own.append(name)
    else:
        _mend(folder, name, own, stages, outcome)


def _mend(folder: Path, name: str, own: str, stages: set[int], outcome: Outcome) -> None:
    if stages == {1, 2, 3} and is_shared(own) and _is_resolved(folder, name, own):
        git(folder, "add", "--force", "--", name)
        outcome.mended.append(name)
    else:
        outcome.conflicts.append(name)


def _is_resolved(folder: Path, name: str, own: str) -> bool:
    """Resolve the hunks of a file that can be. Whether nothing is left to the user."""
    sides = [decoded(own, git_bytes(folder, "cat-file", "blob", f":{stage}:{name}")) for stage in (2, 1, 3)]
    texts = [line_feeds(side[0]) for side in sides if side]
    if len(texts) < 3 or has_marks(texts[0]):  # the user's own marks could not be told from the merge's
        return False
    ours, base, theirs = texts
    data = changed(own, (folder / name).read_bytes(), lambda text: mended(own, text)[0])
    both = text_of(own, data)
    # A hunk was judged by what git made of the lines around it; all of it is judged by what the sides had.
    done = not has_marks(both)
    if done and not says_both(own, ours, base, theirs, both, completed=is_completed(own)):
        return False
    (folder / name).write_bytes(data)
    return done
