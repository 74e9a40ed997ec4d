"""Two commands at once in one repository: the second one is refused, whatever becomes of the first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from queue_template import alone, commands
from queue_template.change import Options
from queue_template.project import find_project
from queue_template.upgrade import HANDED_ON
from tests.conftest import ROOT, Project
from tests.repository import environment
from tests.tool.script import everything, script

COMMANDS = [
    ["add-queue", "--yes", "returns"],
    ["add-type", "--yes", "orders", "order.paid"],
    ["remove-queue", "--yes", "orders"],
    ["set", "--yes", "max_attempts=7"],
    ["update", "--yes"],
    ["link", "--copier"],
    ["link", "somewhere"],
    ["undo"],
]


@pytest.fixture
def waiting(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A command that waits for its yes."""
    command = (sys.executable, "-m", "queue_template", "add-queue", "invoices")
    with subprocess.Popen(
        command,
        cwd=project.path,
        env={**environment(), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        said = ""
        while "Do this?" not in said:
            said += (more := process.stdout.read(1))
            assert more, said
        yield process
        process.kill()


def test_no_second_command_begins_before_the_first_has_ended(project: Project, waiting: subprocess.Popen[str]) -> None:
    before = everything(project.path)
    for command in COMMANDS:
        said = script(project, *command, code=1)
        assert said.startswith("Error: Another queue-template is at work in this repository, or waits for a yes.")
        assert said.count("\n") == 1
    assert everything(project.path) == before
    script(project, "status")  # which changes nothing
    waiting.communicate("y\n")
    assert waiting.returncode == 0
    assert "invoices" in project.read("queues.yaml")
    assert "Undone: Add queue invoices" in script(project, "undo")
    assert everything(project.path) == before


def test_one_that_is_killed_is_in_nobodys_way(project: Project, waiting: subprocess.Popen[str]) -> None:
    waiting.kill()
    waiting.wait()
    script(project, "add-queue", "--yes", "returns")


def test_the_tool_that_an_update_is_handed_on_to_needs_no_lock(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    with alone.alone():
        monkeypatch.setenv(HANDED_ON, "0" * 40)
        with alone.alone() as found:
            assert commands.add_queue(found, Options(yes=True), "returns") == 0
    assert "returns" in project.read("queues.yaml")


def test_where_nothing_can_be_locked_the_work_is_done_all_the_same(project: Project) -> None:
    (find_project(project.path).git_folder() / alone.FILE).mkdir()
    script(project, "add-queue", "--yes", "returns")
