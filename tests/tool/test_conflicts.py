"""What you and the template changed in the same lines, and what other merges left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Project
from tests.releases import RELEASES, change, publish
from tests.repository import GIT, commit, run
from tests.tool.script import CORE, HANDLER, STUB, answers, conflicting, everything, script, status


def test_a_conflict_is_listed_the_answers_are_the_new_ones_and_undo_takes_all_back(
    project: Project, repository: Path
) -> None:
    conflicting(project, repository)
    said = script(project, "update", "--yes", "--set", "max_attempts=7", code=3)
    assert "app/queue/policy.py: line " in said
    assert "undo" in said
    assert "<<<<<<< HEAD\nMAX_CRASHES = 9\n|||||||" in project.read("app/queue/policy.py")
    assert answers(project)["max_attempts"] == "7"
    assert "M  .cruft.json" in status(project)
    for command in ("status", "update", "undo"):
        if command != "undo":
            assert "app/queue/policy.py" in script(project, command, code=1)
    script(project, "undo")
    assert status(project) == []
    assert answers(project)["max_attempts"] == "5"
    assert "MAX_CRASHES = 9" in project.read("app/queue/policy.py")


def test_a_resolved_conflict_is_committed_and_the_next_update_is_clean(project: Project, repository: Path) -> None:
    conflicting(project, repository)
    script(project, "update", "--yes", code=3)
    text = project.read("app/queue/policy.py")
    start, end = text.index("<<<<<<<"), text.index("\n", text.index(">>>>>>>")) + 1
    resolved = f"{text[:start]}MAX_CRASHES = 9\n{text[end:]}"
    (project.path / "app/queue/policy.py").write_text(resolved, encoding="utf-8")
    commit(project.path, "Resolved")
    publish(repository, STUB)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 9" in project.read("app/queue/policy.py")
    assert "the message is finished" in project.read(HANDLER)


def test_a_merge_of_the_users_own_that_is_not_at_its_end_comes_first(project: Project, repository: Path) -> None:
    run(project.path, "git", "checkout", "-q", "-b", "side")
    change(project.path / "README.md", "# ", "## ")
    commit(project.path, "Side")
    run(project.path, "git", "checkout", "-q", "-")
    run(project.path, "git", "merge", "-q", "--no-commit", "--no-ff", "side")
    before = everything(project.path)
    publish(repository, CORE)
    assert "git merge --continue, or git merge --abort" in script(project, "update", "--yes", code=1)
    assert everything(project.path) == before
    run(project.path, "git", "merge", "--abort")
    script(project, "update", "--yes")


@pytest.mark.parametrize("left", ["marks", "rej"])
def test_what_an_update_left_behind_stops_every_command(project: Project, repository: Path, left: str) -> None:
    if left == "marks":
        conflicting(project, repository)
        script(project, "update", "--yes", code=3)
        commit(project.path, "Committed by mistake")
        name = "app/queue/policy.py"
    else:
        name = "app/main.py.rej"
        (project.path / name).write_text("@@ -1 +1 @@\n", encoding="utf-8")
    for command in (["status"], ["update", "--yes"], ["add-queue", "--yes", "more"]):
        assert f"Conflicts of an earlier merge are left in: {name}" in script(project, *command, code=1)
    (project.path / name).write_text("# resolved\n", encoding="utf-8")
    if left == "rej":
        (project.path / name).unlink()
    assert "v0." in script(project, "status")


def test_marks_and_rej_files_that_the_user_committed_as_data_of_tests_stop_nothing(
    project: Project, repository: Path
) -> None:
    marks = "<<<<<<< HEAD\na\n||||||| base\nb\n=======\nc\n>>>>>>> other\n"
    data = project.path / "tests/data"
    data.mkdir()
    (data / "conflict.txt").write_text(marks, encoding="utf-8")
    (data / "patch.rej").write_text("@@ -1 +1 @@\n", encoding="utf-8")
    with (project.path / HANDLER).open("a", encoding="utf-8") as file:
        file.write(f'\n\nMARKS = """\n{marks}"""\n')
    change(project.path / "README.md", "[Português]", "[Em português]")
    with (project.path / "README.md").open("a", encoding="utf-8") as file:
        file.write(f"\n{marks}")
    commit(project.path, "Data of tests")
    publish(repository, STUB)
    script(project, "update", "--yes")
    assert "the message is finished" in project.read(HANDLER)
    assert f'MARKS = """\n{marks}"""' in project.read(HANDLER)
    commit(project.path, "Updated")
    # Beside a true conflict they stay, too: nothing of it is taken for a hunk of the merge's.
    publish(repository, next(release for release in RELEASES if release.title == "a removed file"))
    script(project, "update", "--yes", code=3)
    assert "<<<<<<< HEAD\n[Em português]" in project.read("README.md")
    assert project.read("README.md").endswith(f"\n{marks}")
    script(project, "undo")
    assert status(project) == []


@pytest.mark.parametrize("by", ["attribute", "setting"])
def test_how_the_user_has_git_merge_otherwise_does_not_count(
    project: Project, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "attribute":
        (project.path / ".gitattributes").write_text("*.py merge=union\n", encoding="utf-8")
    else:
        (tmp_path / "config").write_text("[merge]\n\tdefault = union\n", encoding="utf-8")
        monkeypatch.setitem(GIT, "GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    conflicting(project, repository)
    script(project, "update", "--yes", code=3)
    assert "<<<<<<< HEAD\nMAX_CRASHES = 9\n|||||||" in project.read("app/queue/policy.py")
