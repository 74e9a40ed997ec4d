"""What you and the template changed in the same lines, and what other merges left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Project
from tests.releases import publish
from tests.repository import commit
from tests.tool.script import HANDLER, STUB, answers, conflicting, script, status


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


@pytest.mark.parametrize("left", ["marker", "rej"])
def test_what_another_merge_left_behind_stops_every_command(project: Project, left: str) -> None:
    if left == "marker":
        (project.path / "app/main.py").write_text("<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n", encoding="utf-8")
        commit(project.path, "Committed by mistake")
    else:
        (project.path / "app/main.py.rej").write_text("@@ -1 +1 @@\n", encoding="utf-8")
    for command in (["status"], ["update", "--yes"], ["add-queue", "--yes", "more"]):
        assert "Conflicts of an earlier merge are left in: app/main.py" in script(project, *command, code=1)
