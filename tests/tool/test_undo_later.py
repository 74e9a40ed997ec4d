"""What is done by hand between a change and its undo: it stays, and what is still the change's goes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.repository import commit, run
from tests.tool.script import committed, conflicting, everything, script, status

ENTRY = "app/queue/handlers/invoices.py"
TEST = "tests/handlers/test_invoices.py"


def git(project: Project, *arguments: str) -> str:
    return run(project.path, "git", *arguments)


@pytest.fixture
def before(project: Project) -> dict[str, object]:
    """What there was before a queue was added."""
    found = everything(project.path)
    script(project, "add-queue", "--yes", "invoices: invoice.sent")
    return found


def test_what_was_taken_out_of_the_index_alone_is_taken_back_from_disk(
    project: Project, before: dict[str, object]
) -> None:
    git(project, "reset", "--quiet")
    assert "Undone: Add queue invoices" in script(project, "undo")
    assert everything(project.path) == before


def test_a_change_in_a_stash_can_be_undone_when_it_is_out_of_it(project: Project, before: dict[str, object]) -> None:
    git(project, "stash", "--quiet")
    assert everything(project.path) == before
    said = script(project, "undo", code=1)
    assert said.startswith("Error: Nothing of 'Add queue invoices' is in the index or on disk any more")
    assert "git stash pop --index" in said
    git(project, "stash", "pop", "--index", "--quiet")
    assert "Undone: Add queue invoices" in script(project, "undo")
    assert everything(project.path) == before


def test_own_work_at_the_same_paths_after_a_reset_stays(project: Project, before: dict[str, object]) -> None:
    git(project, "reset", "--hard", "--quiet")
    assert everything(project.path) == before
    (project.path / ENTRY).write_text("# by hand\n", encoding="utf-8")
    with (project.path / "queues.yaml").open("a", encoding="utf-8") as file:
        file.write("# by hand\n")
    git(project, "add", "queues.yaml")
    own = everything(project.path)
    said = script(project, "undo", code=1)
    assert "Nothing of 'Add queue invoices' is in the index or on disk any more" in said
    assert f"not what it wrote: {ENTRY}, queues.yaml" in said
    assert everything(project.path) == own
    # Of a part of it, too: the rest is the user's.
    git(project, "stash", "--quiet", "--include-untracked")
    script(project, "add-queue", "--yes", "invoices: invoice.sent")
    git(project, "checkout", "HEAD", "--", "queues.yaml")
    with (project.path / "queues.yaml").open("a", encoding="utf-8") as file:
        file.write("# by hand\n")
    said = script(project, "undo")
    assert "Left as you have it, since it is not what the change wrote: queues.yaml\n" in said
    assert "git checkout HEAD -- FILE" in said
    assert status(project) == [" M queues.yaml"]
    assert project.read("queues.yaml").endswith("# by hand\n")


@pytest.mark.usefixtures("before")
def test_what_is_committed_stays_and_what_is_not_goes(project: Project) -> None:
    git(project, "commit", "--quiet", "-m", "A part", "--", "queues.yaml")
    said = script(project, "undo")
    assert "Left, since it is committed (git revert takes it back): queues.yaml\n" in said
    assert status(project) == []
    assert not (project.path / ENTRY).exists()
    script(project, "add-type", "--yes", "orders", "order.paid")
    commit(project.path, "All of it")
    said = script(project, "undo", code=1)
    assert said.startswith("Error: 'Add message type order.paid to orders' is committed")
    assert "git revert" in said
    assert "is committed" in script(project, "undo", code=1)  # a no takes nothing away


def test_an_edit_on_top_is_named_with_where_it_is_kept(project: Project, before: dict[str, object]) -> None:
    with (project.path / ENTRY).open("a", encoding="utf-8") as file:
        file.write("# more\n")
    said = script(project, "undo")
    assert f"You had changed {ENTRY} since: that is there, too.\n" in said
    kept = said.split("git diff HEAD ")[1].split(",")[0]
    assert git(project, "show", f"{kept}:{ENTRY}").endswith("# more\n")
    assert everything(project.path) == before


@pytest.mark.parametrize("staged", [False, True])
def test_a_conflict_in_work_is_taken_back_and_one_that_was_resolved_stays(
    project: Project, repository: Path, *, staged: bool
) -> None:
    conflicting(project, repository)
    before = everything(project.path)
    script(project, "update", "--yes", code=3)
    policy = "app/queue/policy.py"
    (project.path / policy).write_text("MAX_CRASHES = 8\n", encoding="utf-8")
    if staged:
        git(project, "add", policy)
    said = script(project, "undo")
    if staged:
        assert f"not what the change wrote: {policy}\n" in said
        assert status(project) == [f"M  {policy}"]
    else:
        assert f"You had changed {policy} since" in said
        assert everything(project.path) == before


def test_two_projects_of_a_repository_are_undone_each_by_itself(project: Project, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    for name in ("a", "b"):
        shutil.copytree(project.path, whole / name, ignore=shutil.ignore_patterns(".git"))
    committed(whole)
    one, other = Project(whole / "a"), Project(whole / "b")
    before = everything(whole)
    script(one, "add-queue", "--yes", "invoices")
    script(other, "add-queue", "--yes", "returns")
    assert "Undone: Add queue invoices" in script(one, "undo")
    assert "nothing to undo" in script(one, "undo", code=1)
    assert "returns" in other.read("queues.yaml")
    assert "Undone: Add queue returns" in script(other, "undo")
    assert everything(whole) == before


def test_a_hidden_file_beside_one_that_is_written_stays(project: Project) -> None:
    with (project.path / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write("/.*.queue-template\n")
    mine = project.path / ".queues.yaml.queue-template"
    mine.write_text("mine\n", encoding="utf-8")
    script(project, "add-queue", "--yes", "invoices")
    script(project, "undo")
    assert mine.read_text(encoding="utf-8") == "mine\n"


@pytest.mark.parametrize("damage", ["empty", "newer", "list", "names", "folder"])
def test_a_note_that_can_not_be_read_costs_one_sentence_that_says_what_to_delete(
    project: Project, before: dict[str, object], damage: str
) -> None:
    (note,) = (project.path / ".git").glob("template-undo/*/note.json")
    text = note.read_text(encoding="utf-8")
    if damage == "folder":
        note.unlink()
        note.mkdir()
    else:
        texts = {"empty": "", "newer": text.replace("{", '{"later": 1, ', 1), "list": "[]"}
        note.write_text(texts.get(damage, text.replace('"name": "', '"name": 3, "more": "')), encoding="utf-8")
    for command in (["undo"], ["status"], ["add-queue", "--yes", "more"]):
        said = script(project, *command, code=1)
        assert said.count("\n") == 1
        assert "Error: The note of the last change can't be read" in said
        assert f"Delete {note}" in said
        assert "undo can't take that change back any more" in said
    note.rmdir() if damage == "folder" else note.unlink()
    git(project, "reset", "--hard", "--quiet")
    script(project, "add-queue", "--yes", "more")
    script(project, "undo")
    assert everything(project.path) == before


def test_what_a_kill_left_in_gits_folder_is_in_no_commands_way(project: Project, before: dict[str, object]) -> None:
    (project.path / ".git/template-undo.index.lock").touch()
    script(project, "undo")
    assert everything(project.path) == before
