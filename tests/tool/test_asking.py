"""A change is made after a yes, wherever it comes from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from queue_template import change as changing
from queue_template.change import Options
from tests.conftest import ROOT, Project
from tests.releases import publish
from tests.repository import commit, environment
from tests.tool.script import CORE, HANDLER, fill_in, script, status


def test_nothing_is_changed_where_nobody_says_yes(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    assert "With --yes it is done" in script(project, "update", code=1)
    assert status(project) == []


def test_a_no_changes_nothing_and_the_diff_is_shown_when_asked_for(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    pty = pytest.importorskip("pty", reason="a terminal is needed to be asked, and Windows has none")
    user, terminal = pty.openpty()
    command = [sys.executable, "-m", "queue_template", "update"]
    with open(user, "w", encoding="utf-8") as keyboard:  # noqa: PTH123 - a file descriptor
        keyboard.write("d\nn\n")
        keyboard.flush()
        done = subprocess.run(
            command,
            cwd=project.path,
            env={**environment(), "PYTHONPATH": str(ROOT)},
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "+MAX_CRASHES = 7" in done.stdout
    assert done.stdout.endswith("Nothing was changed.\n")
    assert status(project) == []


def test_the_end_of_input_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    assert not changing.agreed(Options(), str)


def test_a_yes_on_standard_input_is_a_yes_wherever_it_comes_from(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    script(project, "update", typed="d\ny\n")
    assert "M  app/queue/policy.py" in status(project)


def test_what_was_edited_is_said_before_the_one_question(project: Project) -> None:
    fill_in(project)
    commit(project.path, "Work")
    said = script(project, "remove-queue", "orders", typed="n\n", code=1)
    assert said.index("You edited") < said.index("Do this?")
    assert said.count("Do this?") == 1
    assert status(project) == []
    script(project, "remove-queue", "orders", typed="y\n")
    assert f"D  {HANDLER}" in status(project)
