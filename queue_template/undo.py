"""Taking back what was merged, as long as it is not committed."""

from __future__ import annotations

import json
from pathlib import Path

from queue_template.git import SOMEBODY, TemplateError, git, run_git
from queue_template.project import Project

FILE = "template-undo.json"
KEPT = "refs/template/undone/"
"""One for each, so that git keeps them all."""


def remember(project: Project, what: str) -> None:
    """Note that a merge begins. All work is committed at this moment."""
    project.git_path(FILE).write_text(json.dumps({"head": project.head(), "what": what}), encoding="utf-8")


def undo(project: Project) -> str:
    """Set everything back to the last commit. Returns what was undone, and where the state before is kept.

    Raises TemplateError if there is nothing to undo, or if it was committed.
    """
    file = project.git_path(FILE)
    if not file.is_file():
        raise TemplateError("There is nothing to undo: no update is waiting to be committed.")
    memory = json.loads(file.read_text(encoding="utf-8"))
    head = project.head()
    if memory["head"] != head:
        raise TemplateError(
            f"'{memory['what']}' is not waiting to be committed any more, so there is nothing to undo; "
            "what was committed is taken back by: git revert"
        )
    if run_git(project.top, "diff", "--cached", "--quiet", "HEAD").returncode == 0:
        file.unlink()
        raise TemplateError(f"Nothing of '{memory['what']}' is staged any more, so there is nothing to undo.")
    kept = _keep(project, head)
    git(project.top, "reset", "--hard", "--quiet", head)
    file.unlink()
    return (
        f"Undone: {memory['what']}. What was there is kept in {kept[:10]}: git diff HEAD {kept[:10]}, "
        f"or for one file: git checkout {kept[:10]} -- FILE"
    )


def _keep(project: Project, head: str) -> str:
    """A commit of everything as it is, resolved conflicts too, so that an undo loses no work."""
    index: Path = project.git_path("template-undo.index")
    environment = {**SOMEBODY, "GIT_INDEX_FILE": str(index.absolute())}
    try:
        git(project.top, "read-tree", head, environment=environment)
        git(project.top, "add", "--all", environment=environment)
        tree = git(project.top, "write-tree", environment=environment).strip()
    finally:
        index.unlink(missing_ok=True)
    kept = git(project.top, "commit-tree", tree, "-p", head, "-m", "Undone", environment=SOMEBODY).strip()
    git(project.top, "update-ref", f"{KEPT}{kept}", kept)
    return kept
