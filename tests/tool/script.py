"""Calling the tool, and what its tests ask of a project."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.conftest import ROOT, Project
from tests.releases import RELEASES, change, publish
from tests.repository import commit, run

ANSWERS = {"queues": "user_channel: send_audio; orders: order.created"}
HANDLER = "app/queue/handlers/orders.py"
CORE, STUB = RELEASES[:2]


def committed(path: Path) -> Project:
    run(path, "git", "init", "--quiet", "--initial-branch", "main")
    commit(path, "From the template")
    return Project(path)


def script(project: Project, *arguments: str, code: int = 0, typed: str = "") -> str:
    """Call the tool as it stands here. Returns what it printed."""
    command = (sys.executable, "-m", "queue_template", *arguments)
    return run(project.path, *command, code=code, typed=typed, PYTHONPATH=str(ROOT), QUEUE_TEMPLATE_COMMAND="the-tool")


def status(project: Project) -> list[str]:
    return run(project.path, "git", "status", "--porcelain").splitlines()


def answers(project: Project) -> dict[str, str]:
    found: dict[str, str] = json.loads(project.read(".cruft.json"))["context"]["cookiecutter"]
    return found


def fill_in(project: Project, name: str = HANDLER, text: str = "mine") -> None:
    change(project.path / name, "        logger.info(", f'        logger.debug("{text}")\n        logger.info(')


def conflicting(project: Project, repository: Path) -> None:
    """The user and the template's next release change one line of the core."""
    change(project.path / "app/queue/policy.py", "MAX_CRASHES = 6", "MAX_CRASHES = 9")
    commit(project.path, "Work")
    publish(repository, CORE)


def everything(folder: Path) -> dict[str, object]:
    """All that is there, ignored files and links and modes too, and what the index says."""
    found: dict[str, object] = {"index": run(folder, "git", "ls-files", "-v", "-s")}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name.partition("/")[0] != ".git":
            mode = path.lstat().st_mode
            found[name] = (mode, path.readlink() if path.is_symlink() else None if path.is_dir() else path.read_bytes())
    return found
