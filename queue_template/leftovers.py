"""What stays behind when a queue is removed: what is the user's own, and what is at its broker."""

from __future__ import annotations

import shlex

from queue_template import blobs
from queue_template.apart import Commits
from queue_template.form import text_of
from queue_template.git import git, run_git
from queue_template.handlers import FOLDER, homes
from queue_template.index import tree
from queue_template.project import Project
from queue_template.queues import entries_of, kind_of

DELETE = {
    "rabbitmq": ("rabbitmqctl delete_queue", "retry_{}_<milliseconds>"),
    "redis": ("redis-cli DEL", "retry_{}_delayed"),
    "nats": ("nats stream rm", "retry_{}_delayed"),
}
"""For each provider, what deletes one place of a queue, and the places where retries wait."""
PLACES = ("{}", "quarantine_{}", "dlq_{}", "parked_{}")


def left_behind(project: Project, commits: Commits, queue: str) -> list[str]:
    """What the removal of a queue leaves, each with the command that removes it, in words."""
    return [*_handlers(project, commits, queue), *_at_the_broker(project, queue)]


def _handlers(project: Project, commits: Commits, queue: str) -> list[str]:
    """Modules of the user's own that handle the queue, which the service then warns of at its start."""
    entries = tree(commits.folder, "HEAD", project.prefix).items()
    own = {name.removeprefix(project.prefix): entry for name, entry in entries if name.endswith(".py")}
    found = blobs.read(commits.folder, {name: entry for name, entry in own.items() if name.startswith(FOLDER)})
    sources = {name: text_of(name, data) for name, data in found.items()}
    gone = {name.removeprefix(project.prefix) for name in commits.dropped_files(project.prefix)}
    places = set()
    for name in {home.name for home in homes(sources).get(queue, [])} - gone:
        first, deeper, _ = name.removeprefix(FOLDER).partition("/")
        places.add(f"{FOLDER}{first}{deeper}".rstrip("/"))
    return [f"{place}, which handles it: git rm -r {shlex.quote(place)}" for place in sorted(places)]


def _at_the_broker(project: Project, queue: str) -> list[str]:
    provider = next((kind_of(one) for one in entries_of(project) or [] if one["name"] == queue), "")
    if provider not in DELETE:
        return []
    delete, waiting = DELETE[provider]
    names = ", ".join(place.format(queue) for place in (*PLACES, waiting))
    return [f"at {provider}, as far as they are there, and with their messages: {names}. For each: {delete} NAME"]


def named_in(project: Project, commits: Commits, queue: str) -> list[str]:
    """The files below `app/` and `tests/` that name the queue, are not as the template made them, and stay."""
    folders = [f"{project.prefix}{name}" for name in ("app", "tests")]
    found = run_git(project.top, "grep", "-lzwF", queue, "--", *folders).stdout.split("\0")
    written = git(commits.folder, "diff", "--name-only", "-z", commits.old, "HEAD").split("\0")
    return sorted({*found} & {*written} - {*commits.dropped_files(project.prefix), ""})
