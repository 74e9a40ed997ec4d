"""What an update or another change did is taken back, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from queue_template import change as changing
from queue_template.change import Options
from queue_template.project import find_project
from queue_template.upgrade import update
from tests.conftest import Project
from tests.releases import publish
from tests.repository import environment, run
from tests.tool.script import CORE, script, status


def test_an_update_is_staged_whole_and_undo_takes_it_back(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    before = project.read(".cruft.json")
    said = script(project, "update", "--yes")
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    assert sorted(status(project)) == ["A  app/queue/new_part.py", "M  .cruft.json", "M  app/queue/policy.py"]
    assert "new       app/queue/new_part.py" in said
    state = json.loads(project.read(".cruft.json"))
    assert state["template"] == str(repository)
    assert state["commit"] == run(repository, "git", "rev-parse", "v0.2.0").strip()
    assert state["checkout"] == "v0.2.0"
    (project.path / "app/queue/policy.py").write_text("# written since", encoding="utf-8")
    kept = script(project, "undo").split("git diff HEAD ")[1].split(",")[0]
    assert status(project) == []
    assert project.read(".cruft.json") == before
    assert run(project.path, "git", "show", f"{kept}:app/queue/policy.py") == "# written since"
    assert "nothing to undo" in script(project, "undo", code=1)


def test_an_undo_takes_back_nothing_but_what_waits_to_be_committed(project: Project) -> None:
    script(project, "add-queue", "--yes", "invoices")
    run(project.path, "git", "reset", "--hard", "--quiet")
    (project.path / "app/main.py").write_text("# written since", encoding="utf-8")
    assert "is staged any more" in script(project, "undo", code=1)
    assert project.read("app/main.py") == "# written since"


def test_what_was_undone_is_kept_each_time(project: Project) -> None:
    kept = []
    for queue in ("invoices", "returns"):
        script(project, "add-queue", "--yes", queue)
        kept.append(script(project, "undo").split("git diff HEAD ")[1].split(",")[0])
    run(project.path, "git", "reflog", "expire", "--expire=now", "--all")
    run(project.path, "git", "gc", "--quiet", "--prune=now")
    for commit_id, queue in zip(kept, ("invoices", "returns"), strict=True):
        assert queue in run(project.path, "git", "show", f"{commit_id}:queues.yaml")


def test_what_is_broken_off_in_the_middle_is_taken_back(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(repository, CORE)
    merge = vars(changing)["merge"]

    def broken_off(found: Any, folder: Path, *rest: Any) -> Any:
        outcome = merge(found, folder, *rest)
        if folder == found.top:
            assert status(project)
            raise KeyboardInterrupt
        return outcome

    monkeypatch.setattr(changing, "merge", broken_off)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyboardInterrupt):
        update(find_project(project.path), Options(yes=True), None, {})
    assert status(project) == []
    assert "MAX_CRASHES = 6" in project.read("app/queue/policy.py")
