"""Running git, and what went wrong as one sentence."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

COMMAND = os.environ.get("QUEUE_TEMPLATE_COMMAND", "queue-template")
"""How the user calls this tool; the project's template.py sets it."""
ALWAYS = ("core.quotePath=false", "core.safecrlf=false", "color.ui=false")
SOMEBODY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in {"NAME": "template", "EMAIL": "template@localhost", "DATE": "2000-01-01T00:00:00Z"}.items()
}
"""For commits that are on no branch, so that no identity needs to be configured."""


class TemplateError(Exception):
    """What stops a command. The text is for the user: what is wrong, and what to do."""


def git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, given: str = "") -> str:
    """What git prints, for `given` on its standard input. Raises TemplateError with git's own words."""
    done = run_git(folder, *arguments, environment=environment, given=given)
    if done.returncode != 0:
        raise failed(arguments[0], done.stderr or done.stdout)
    return done.stdout


def git_bytes(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, given: bytes = b"") -> bytes:
    """What git prints, byte for byte. Raises TemplateError with git's own words."""
    done = _run(folder, arguments, environment, given)
    if done.returncode != 0:
        raise failed(arguments[0], done.stderr.decode(errors="replace"))
    return done.stdout


def make_repository(folder: Path, kind: str, *arguments: str) -> None:
    """`git init` in a folder. `kind` is `sha1` or `sha256`, whatever git's default is here."""
    git(folder, "init", "--quiet", *arguments, environment={"GIT_DEFAULT_HASH": kind})


def failed(command: str, said: str) -> TemplateError:
    """The error that has git's own words."""
    return TemplateError(f"git {command} failed: {said.strip()}")


def run_git(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run git, whatever its exit code."""
    done = _run(folder, arguments, environment, given.encode(errors="surrogateescape"))
    out, said = (text.decode(errors="surrogateescape").replace("\r\n", "\n") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, said)


def _run(
    folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str] | None, given: bytes
) -> subprocess.CompletedProcess[bytes]:
    options = [part for setting in ALWAYS for part in ("-c", setting)]
    # The names that git is given are names: `[id].py` is one file.
    environment = {**clean_environment(), "GIT_LITERAL_PATHSPECS": "1", **(environment or {})}
    command = ["git", *options, *arguments]
    try:
        return subprocess.run(command, cwd=folder, env=environment, input=given, capture_output=True, check=False)
    except FileNotFoundError:
        raise TemplateError("git is needed, and is not on the PATH.") from None


def clean_environment() -> dict[str, str]:
    """The environment, without what git sets for its hooks: it would point at the wrong repository."""
    own = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY"}
    return {name: value for name, value in os.environ.items() if name not in own} | {"LC_ALL": "C"}
