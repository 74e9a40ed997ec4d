"""A project among others in one repository: their work is in nobody's way, and stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from queue_template import change as changing
from queue_template import commands
from queue_template.change import Options, opened
from queue_template.project import find_project
from tests.conftest import Project
from tests.repository import commit, environment, run
from tests.tool.script import committed, everything, script, status

MARKS = "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n"


@pytest.fixture
def project(project: Project, tmp_path: Path) -> Project:
    """The project in a folder of a larger repository, in which there is another one."""
    whole = tmp_path / "whole"
    (whole / "other").mkdir(parents=True)
    shutil.copytree(project.path, whole / "services/queue-service", ignore=shutil.ignore_patterns(".git"))
    for name, text in {"edited.py": "a\n", "staged.py": "a\n", "conflict.txt": MARKS, "a.rej": "@@\n"}.items():
        (whole / "other" / name).write_text(text, encoding="utf-8")
    committed(whole)
    return Project(whole / "services/queue-service")


def test_work_in_another_folder_is_neither_in_the_way_nor_undone(project: Project) -> None:
    other = project.path.parents[1] / "other"
    for name in ("edited.py", "staged.py", "untracked.py", "b.rej"):
        (other / name).write_text("work\n", encoding="utf-8")
    run(other, "git", "add", "staged.py")
    before = everything(project.path.parents[1])
    said = script(project, "add-queue", "--yes", "invoices")
    # What is staged elsewhere is not to be in the same commit.
    assert "git commit -m 'Add queue invoices' -- .\n" in said
    script(project, "undo")
    assert everything(project.path.parents[1]) == before
    script(project, "add-queue", "--yes", "invoices")
    run(other, "git", "commit", "--quiet", "--message", "Elsewhere", "--", "staged.py")
    assert "Undone: Add queue invoices" in script(project, "undo")
    assert status(project) == [" M other/edited.py", "?? other/b.rej", "?? other/untracked.py"]


def test_the_command_that_is_named_commits_this_project_alone(project: Project) -> None:
    other = project.path.parents[1] / "other"
    (other / "staged.py").write_text("work\n", encoding="utf-8")
    run(other, "git", "add", "staged.py")
    script(project, "add-queue", "--yes", "invoices")
    run(project.path, "git", "commit", "--quiet", "-m", "Add queue invoices", "--", ".")
    assert status(project) == ["M  other/staged.py"]


def test_only_the_projects_own_folder_is_taken_apart_and_in_gits_folder_if_there_is_no_room(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    own = project.path.parents[1] / ".git"
    merge = vars(changing)["merge"]

    def looked_at(found: Any, folder: Path, *rest: Any) -> Any:
        assert folder.is_relative_to(own)
        seen.append({path.name for path in folder.iterdir()} | {path.name for path in (folder / "services").iterdir()})
        return merge(found, folder, *rest)

    monkeypatch.setattr(changing, "merge", looked_at)
    monkeypatch.setattr(changing, "ROOM", 2**60)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    assert commands.add_queue(find_project(project.path), Options(yes=True), "invoices") == 0
    assert seen == [{".git", "services", "queue-service"}]
    assert {path.name for path in own.glob("template-*")} == {"template-undo"}


def test_the_advice_to_stash_takes_no_work_of_another_folder(project: Project) -> None:
    other = project.path.parents[1] / "other"
    (other / "untracked.py").write_text("work\n", encoding="utf-8")
    (project.path / "queues.yaml").write_text(project.read("queues.yaml") + "# mine\n", encoding="utf-8")
    said = script(project, "add-queue", "--yes", "invoices", code=1)
    command = said.partition("(")[2].partition(")")[0]
    assert command == "git stash push -u -- queues.yaml"
    run(project.path, *command.split())
    assert status(project) == ["?? other/untracked.py"]


def test_the_room_that_is_needed_counts_what_the_project_has(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    room = vars(changing)["ROOM"] + 5 * 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=room))
    own = project.path.parents[1] / ".git"
    for size, in_own in ((2**20, False), (8 * 2**20, True)):
        (project.path / "data.bin").write_bytes(b"0" * size)
        (project.path.parents[1] / "other" / "data.bin").write_bytes(b"0" * 20 * 2**20)
        commit(project.path, "Data")
        with opened(find_project(project.path), fresh=False) as (_, scratch, _):
            assert scratch.is_relative_to(own) == in_own


def test_a_file_that_the_user_moved_to_another_folder_stays_there(project: Project) -> None:
    whole = project.path.parents[1]
    run(whole, "git", "mv", "services/queue-service/README.pt-BR.md", "other/LEIA.md")
    commit(whole, "Moved")
    script(project, "set", "--yes", "project_name=Other Name")
    assert (whole / "other/LEIA.md").exists()
    assert not (project.path / "README.pt-BR.md").exists()
