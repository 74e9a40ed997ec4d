"""Commands and commits, with nothing of the machine's git configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.conftest import TOOLS

GIT = {
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.org",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def environment() -> dict[str, str]:
    """With the tools of the tests first, cruft and uv among them."""
    return {
        **os.environ,
        **GIT,
        "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "",  # `python -m` finds what is in the folder
    }


def run(folder: Path, *command: str, code: int = 0, typed: str = "", **variables: str) -> str:
    """What the command prints. It must end with this exit code. `typed` is its standard input."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment(), **variables},
        input=typed,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def commit(folder: Path, text: str) -> None:
    """Commit everything."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--allow-empty", "--message", text)
