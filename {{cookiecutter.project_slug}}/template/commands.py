"""The commands. Each returns its exit code."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from template.change import CONFLICTS, Change, Options, agreed, apply, opened
from template.entries import entry
from template.git import COMMAND, TemplateError, git, run_git
from template.merge import Commits
from template.project import (
    Project,
    answers_of,
    check_clean,
    check_nothing_is_left,
    queue_names,
    with_queue,
    with_type,
    without_queue,
)
from template.releases import CREDENTIALS, Notes, Releases, without_secrets
from template.render import call_cruft
from template.undo import undo

BEHIND = CONFLICTS


def status(project: Project, *, exit_code: bool) -> int:
    """Say whether the project is behind, and by what."""
    check_nothing_is_left(project)
    with opened(project) as (releases, _, state):
        old, latest = releases.commit(state["commit"]), releases.latest()
        new = releases.commit(latest)
        if releases.contains(old, new):
            print(f"Up to date: {releases.name(old)} of {without_secrets(state['template'])}")
            return 0
        print(
            f"Behind: at {releases.name(old)}, and {releases.name(new)} is out ({without_secrets(state['template'])})"
        )
        print(f"Take it in: {COMMAND} update\n")
        print("\n\n".join(notes.text for notes in releases.notes(old, new)) or "Its CHANGELOG says nothing new.")
        return BEHIND if exit_code else 0


def update(project: Project, options: Options, to: str | None, answers: dict[str, str]) -> int:
    """Take in a release of the template, the latest one if none is named."""
    check_clean(project)
    with opened(project) as (releases, scratch, state):
        old = releases.commit(state["commit"])
        new = releases.commit(to or releases.latest())
        if to is None and releases.contains(old, new):
            if not answers:
                print(f"Up to date: {releases.name(old)}")
                return 0
            new = old
        show_notes(releases.notes(old, new))
        what = f"Update the template from {releases.name(old)} to {releases.name(new)}"
        change = Change(what, new, answers_of(state) | answers)
        return apply(project, options, releases, scratch, change)


def show_notes(notes: list[Notes]) -> None:
    """What a release brings, and above all what it breaks."""
    for release in notes:
        print(release.text, end="\n\n")
    for release in notes:
        if release.breaking:
            print(f"BREAKING in {release.version}, to be done by hand:\n\n{release.breaking}\n")


def change_answers(project: Project, options: Options, answers: dict[str, str]) -> int:
    """Change answers, at the template's commit that the project has. Queues only go by `remove-queue`."""
    check_clean(project)
    before = answers_of(project.state())["queues"]
    gone = sorted(set(queue_names(before)) - set(queue_names(answers.get("queues", before))))
    if gone:
        raise TemplateError(f"That would remove {', '.join(gone)}, with what you wrote for it: {COMMAND} remove-queue.")
    with opened(project) as (releases, scratch, state):
        what = "Change " + ", ".join(answers)
        change = Change(what, releases.commit(state["commit"]), answers_of(state) | answers)
        return apply(project, options, releases, scratch, change)


def add_queue(project: Project, options: Options, queue: str) -> int:
    """Add a queue: `orders`, or with all that the answer's grammar has, `orders@memory!nodlq: order.created`."""
    name = queue.partition("@")[0].partition("!")[0].partition(":")[0].strip()
    file = project.path / "queues.yaml"
    if file.is_file() and entry(file.read_text(encoding="utf-8"), name):
        raise TemplateError(f"queues.yaml has an entry {name!r} already.")
    queues = with_queue(answers_of(project.state())["queues"], queue)
    return _change_queues(project, options, f"Add queue {name}", queues)


def add_type(project: Project, options: Options, queue: str, kind: str) -> int:
    """Add a message type to a queue."""
    queues = with_type(answers_of(project.state())["queues"], queue, kind)
    return _change_queues(project, options, f"Add message type {kind} to {queue}", queues)


def _change_queues(project: Project, options: Options, what: str, queues: str) -> int:
    check_clean(project)
    with opened(project) as (releases, scratch, state):
        change = Change(what, releases.commit(state["commit"]), answers_of(state) | {"queues": queues})
        return apply(project, options, releases, scratch, change)


def remove_queue(project: Project, options: Options, queue: str, *, delete_edited: bool) -> int:
    """Remove a queue, its handler, and the handler's tests. What was edited is only deleted if the user says so."""
    check_clean(project)
    queues = without_queue(answers_of(project.state())["queues"], queue)

    def before_asking(commits: Commits) -> None:
        edited = edited_files(project, commits)
        _say_where_it_is_named(project, commits, queue)
        if not edited or delete_edited:
            return
        head = project.head()[:10]
        print(f"You edited {', '.join(edited)}. What is deleted stays in git: git show {head}:{edited[0]}")
        if options.yes:
            raise TemplateError("Nothing was changed: with --yes, edited files are only deleted with --delete-edited.")
        if not agreed(Options(), lambda: git(project.top, "diff", commits.old, "HEAD", "--", *edited)):
            raise TemplateError("Nothing was changed.")

    with opened(project) as (releases, scratch, state):
        answers = answers_of(state) | {"queues": queues}
        change = Change(f"Remove queue {queue}", releases.commit(state["commit"]), answers, dropped=queue)
        return apply(project, options, releases, scratch, change, before_asking)


def edited_files(project: Project, commits: Commits) -> list[str]:
    """The files of the queue that goes which are not as the template made them."""
    files = commits.dropped_files(project.prefix)
    changed = git(project.top, "diff", "--name-only", "--diff-filter=AM", commits.old, "HEAD", "--", *files)
    return changed.splitlines()


def _say_where_it_is_named(project: Project, commits: Commits, queue: str) -> None:
    folders = [f"{project.prefix}{name}" for name in ("app", "tests")]
    found = set(run_git(project.top, "grep", "-lwF", queue, "--", *folders).stdout.splitlines())
    written = set(git(project.top, "diff", "--name-only", commits.old, "HEAD").splitlines())
    others = sorted(found & written - set(commits.dropped_files(project.prefix)))
    if others:
        print(f"{queue} is also named in: {', '.join(others)}")


def link(project: Project, url: str, reference: str | None) -> int:
    """Write `.cruft.json` for a project that was made by plain cookiecutter, with the answers it was made with."""
    check_clean(project)
    if project.state_file.exists():
        raise TemplateError("There is a .cruft.json already.")
    if CREDENTIALS.search(url.replace("://git@", "://")):
        raise TemplateError("Leave user and token out of the URL, which is committed in .cruft.json: git has helpers.")
    made: dict[str, Any] = json.loads((project.path / "template" / "made_from.json").read_text(encoding="utf-8"))
    reference = reference or f"v{made['version']}"
    options = [
        "--no-input",
        "--default-config",
        "--checkout",
        reference,
        "--extra-context",
        json.dumps(made["answers"]),
    ]
    with tempfile.TemporaryDirectory(prefix="template-", ignore_cleanup_errors=True) as scratch:
        try:
            Releases(url, Path(scratch) / "template").commit(reference)
        except TemplateError as error:
            raise TemplateError(f"{error} (A commit or a branch can be named, too: --at)") from None
    call_cruft("link", *options, url, folder=project.path)
    git(project.path, "add", "--force", ".cruft.json")
    print(f"Linked to {reference} of {url}, and staged. Then: git commit -m 'Link to the template'")
    return 0


def take_back(project: Project) -> int:
    """Undo what is not committed yet."""
    print(undo(project))
    return 0
