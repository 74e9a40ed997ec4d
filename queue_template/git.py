"""Running git, and what went wrong as one sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

COMMAND = os.environ.get("QUEUE_TEMPLATE_COMMAND", "queue-template")
"""How the user calls this tool; the project's template.py sets it."""
ALWAYS = (
    "core.quotePath=false",
    "color.ui=false",
    "core.safecrlf=false",
    "merge.conflictStyle=diff3",  # with what the template had, which `mend` needs
    "merge.renames=true",
    "merge.directoryRenames=false",  # a new file of the user's stays where it was put
    "rerere.enabled=false",
    "advice.detachedHead=false",
)
SOMEBODY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in {"NAME": "template", "EMAIL": "template@localhost", "DATE": "2000-01-01T00:00:00Z"}.items()
}
"""For commits that are on no branch, so that no identity needs to be configured."""


class TemplateError(Exception):
    """What stops a command. The text is for the user: what is wrong, and what to do."""


def git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What git prints. Raises TemplateError with git's own words."""
    done = run_git(folder, *arguments, environment=environment)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise TemplateError(f"git {arguments[0]} failed: {said}")
    return done.stdout


def run_git(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run git, whatever its exit code."""
    options = [part for setting in ALWAYS for part in ("-c", setting)]
    try:
        return subprocess.run(
            ["git", *options, *arguments],
            cwd=folder,
            env={**clean_environment(), **(environment or {})},
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
    except FileNotFoundError:
        raise TemplateError("git is needed, and is not on the PATH.") from None


def clean_environment() -> dict[str, str]:
    """The environment, without what git sets for its hooks: it would point at the wrong repository."""
    own = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
    return {name: value for name, value in os.environ.items() if name not in own} | {"LC_ALL": "C"}
