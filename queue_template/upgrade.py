"""Taking in a release of the template. The tool of that release does it."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, distribution

from queue_template import launch
from queue_template.change import Change, Options, apply, opened
from queue_template.project import Project, check_clean
from queue_template.queues import answers_now
from queue_template.releases import Notes, Releases

HANDED_ON = "QUEUE_TEMPLATE_HANDED_ON"
"""Set for the tool that does an update for another one: it doesn't look for a third."""


def update(project: Project, options: Options, to: str | None, answers: dict[str, str]) -> int:
    """Take in a release of the template, the latest one if none is named."""
    check_clean(project)
    with opened(project, fresh=True) as (releases, scratch, state):
        old = releases.commit(state["commit"])
        new = releases.commit(to or releases.latest())
        if old == new or (to is None and releases.contains(old, new)):
            if not answers:
                print(f"Up to date: {releases.name(old)}")
                return 0
            new = old
        if handed_on(releases, new):
            print(f"queue-template of {releases.name(new)} ({new[:10]}) does this update.", flush=True)
            os.environ[HANDED_ON] = new
            return launch.run(state["template"], project.path, new, sys.argv[1:])
        show_notes(releases.notes(old, new))
        what = f"Update the template from {releases.name(old)} to {releases.name(new)}"
        change = Change(what, new, answers_now(project, state) | answers)
        return apply(project, options, releases, scratch, change)


def show_notes(notes: list[Notes]) -> None:
    """What a release brings, and above all what it breaks."""
    for release in notes:
        print(release.text, end="\n\n")
    for release in notes:
        if release.breaking:
            print(f"BREAKING in {release.version}, to be done by hand:\n\n{release.breaking}\n")


def handed_on(releases: Releases, commit: str) -> bool:
    """Whether the tool at this commit of the template is to do the update.

    So a mistake in how it merges is mended for every project by the next release. A tool that was not installed from a
    commit is one that somebody works on, and does it itself.
    """
    own = own_commit()
    return own not in (None, commit) and HANDED_ON not in os.environ and releases.has_tool(commit)


def own_commit() -> str | None:
    """The commit of the template that this tool was installed from; None if it was installed in another way."""
    try:
        origin = distribution("queue-template").read_text("direct_url.json")
    except PackageNotFoundError:
        return None
    commit: str | None = json.loads(origin or "{}").get("vcs_info", {}).get("commit_id")
    return commit
