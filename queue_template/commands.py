"""The commands. Each returns its exit code."""

from __future__ import annotations

import shlex

from queue_template import blobs
from queue_template.answers import queue_names, with_queue, with_type, without_queue
from queue_template.apart import Commits
from queue_template.change import CONFLICTS, NOT_DONE, Change, Options, apply, opened
from queue_template.entries import entry
from queue_template.form import text_of
from queue_template.git import COMMAND, TemplateError, git
from queue_template.index import tree
from queue_template.leftovers import left_behind, named_in
from queue_template.project import Project, check_clean, check_nothing_is_left
from queue_template.queues import FILE, answers_now, check_new
from queue_template.releases import without_secrets
from queue_template.undo import undo

BEHIND = CONFLICTS


def status(project: Project, *, exit_code: bool) -> int:
    """Say whether the project is behind, and by what."""
    check_nothing_is_left(project)
    with opened(project, fresh=True) as (releases, _, state):
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


def change_answers(project: Project, options: Options, answers: dict[str, str]) -> int:
    """Change answers, at the template's commit that the project has. Queues only go by `remove-queue`."""
    check_clean(project)
    now = answers_now(project, project.state())
    before, after = (set(queue_names(found["queues"])) for found in (now, now | answers))
    check_new(project, sorted(after - before))
    gone = sorted(before - after)
    if gone:
        raise TemplateError(f"That would remove {', '.join(gone)}, with what you wrote for it: {COMMAND} remove-queue.")
    with opened(project, fresh=False) as (releases, scratch, state):
        what = "Change " + ", ".join(answers)
        change = Change(what, releases.commit(state["commit"]), now | answers)
        return apply(project, options, releases, scratch, change)


def add_queue(project: Project, options: Options, queue: str) -> int:
    """Add a queue: `orders`, or with all that the answer's grammar has, `orders@memory!nodlq: order.created`."""
    name = queue.partition("@")[0].partition("!")[0].partition(":")[0].strip()
    check_new(project, [name])
    queues = with_queue(answers_now(project, project.state())["queues"], queue)
    return _change_queues(project, options, f"Add queue {name}", queues)


def add_type(project: Project, options: Options, queue: str, kind: str) -> int:
    """Add a message type to a queue."""
    queues = with_type(answers_now(project, project.state())["queues"], queue, kind)
    return _change_queues(project, options, f"Add message type {kind} to {queue}", queues)


def _change_queues(project: Project, options: Options, what: str, queues: str) -> int:
    check_clean(project)
    with opened(project, fresh=False) as (releases, scratch, state):
        answers = answers_now(project, state) | {"queues": queues}
        change = Change(what, releases.commit(state["commit"]), answers, recorded=False)
        return apply(project, options, releases, scratch, change)


def remove_queue(project: Project, options: Options, queue: str, *, delete_edited: bool) -> int:
    """Remove a queue, its handler, and the handler's tests. What was edited is only deleted if the user says so."""
    check_clean(project)
    queues = without_queue(answers_now(project, project.state())["queues"], queue)

    left: list[str] = []

    def before_asking(commits: Commits) -> None:
        left.extend(left_behind(project, commits, queue))
        if others := named_in(project, commits, queue):
            print(f"{queue} is also named in: {', '.join(project.local(others))}")
        if edited := edited_files(project, commits, queue):
            where = shlex.quote(f"{project.head()[:10]}:{edited[0]}")
            print(f"You edited {', '.join(project.local(edited))}. What is deleted stays in git: git show {where}")
        if edited and options.yes and not delete_edited:
            raise TemplateError(
                "Nothing was changed: with --yes, edited files are only deleted with --delete-edited "
                "(make: DELETE_EDITED=1)."
            )

    with opened(project, fresh=False) as (releases, scratch, state):
        answers = answers_now(project, state) | {"queues": queues}
        commit = releases.commit(state["commit"])
        change = Change(f"Remove queue {queue}", commit, answers, dropped=queue, recorded=False)
        code = apply(project, options, releases, scratch, change, before_asking)
    if code != NOT_DONE and left:
        print("\nLeft behind, to be removed when no instance that has the queue runs any more:")
        print("".join(f"  {one}\n" for one in left), end="")
    return code


def edited_files(project: Project, commits: Commits, queue: str) -> list[str]:
    """The files of the queue that goes which are not as the template made them; `queues.yaml` if its entry isn't."""
    files = commits.dropped_files(project.prefix)
    words = ("diff", "--name-only", "-z", "--diff-filter=AM", commits.old, "HEAD", "--", *files)
    changed = list(filter(None, git(commits.folder, *words).split("\0")))
    name = f"{project.prefix}{FILE}"
    made, own = (entry(text_of_file(commits, commit, name), queue) for commit in (commits.old, "HEAD"))
    return [*changed, name] if own and own != made else changed


def text_of_file(commits: Commits, commit: str, name: str) -> str:
    """A file of a commit; empty if it has none."""
    return text_of(name, blobs.read(commits.folder, tree(commits.folder, commit, name)).get(name, b""))


def take_back(project: Project) -> int:
    """Undo what is not committed yet."""
    print(undo(project))
    return 0
