"""What an update or another change did is taken back, and nothing else."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queue_template import change as changing
from queue_template import files, record, undo, writing
from queue_template.change import Options
from queue_template.git import TemplateError
from queue_template.project import check_clean, find_project
from queue_template.upgrade import update
from tests.conftest import Project
from tests.releases import SERVICE, Release, publish
from tests.repository import environment, run
from tests.tool.script import CORE, everything, script, status


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
    assert "is in the index or on disk any more" in script(project, "undo", code=1)
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


class KilledError(BaseException):
    """Nothing that the tool does after it counts."""


def test_what_is_broken_off_in_the_middle_is_taken_back(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(repository, CORE)
    before = everything(project.path)

    def broken_off(*_: object) -> None:
        assert status(project)
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "put_into_index", broken_off)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyboardInterrupt):
        update(find_project(project.path), Options(yes=True), None, {})
    assert everything(project.path) == before
    assert "nothing to undo" in script(project, "undo", code=1)


def test_what_is_killed_at_any_write_is_said_by_the_next_command_and_taken_back(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wild(root: Path) -> None:
        CORE.make(root)
        service = root / SERVICE
        (service / "README.pt-BR.md").unlink()
        (service / "compose.yaml").unlink()
        (service / "compose.yaml").mkdir()
        (service / "compose.yaml/part.yaml").write_text("{}\n", encoding="utf-8")
        shutil.rmtree(service / ".devcontainer")
        (service / ".devcontainer").write_text("A file.\n", encoding="utf-8")
        (service / "docs/parts").mkdir()
        (service / "docs/parts/new.md").write_text("New.\n", encoding="utf-8")

    publish(repository, Release("0.2.0", "wild", wild))
    (project.path / "README.pt-BR.md").chmod(0o640)
    before = everything(project.path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    places = [
        (files, "print_of"),  # of what was just moved aside
        (files, "prune"),
        (files, "_place"),
        (shutil, "move"),
        (writing, "put_into_index"),
        (writing, "refresh"),
        (writing, "save"),
        (record, "save"),
    ]
    if sys.platform != "win32":
        places.append((os, "link"))
    died: list[int] = []

    def killed_at_each(found: Any, what: str, steps: Any, out: Path) -> None:
        for at in range(1000):
            count = iter(range(1000))
            plan = writing.planned(found, what, steps, out)
            with monkeypatch.context() as patch:
                for module, name in places:
                    patch.setattr(module, name, dying(getattr(module, name), count, at))
                try:
                    writing.write(found, plan, steps, out)
                except KilledError:
                    died.append(at)
                else:
                    return
            note = record.load(found.undo_folder())
            if note is None:
                assert everything(project.path) == before
                continue  # it had written nothing but its note
            if not note.done:  # killed after that, it is no other than an update that is done
                with pytest.raises(TemplateError, match="was broken off"):
                    check_clean(found)
            undo.undo(found)
            assert everything(project.path) == before, f"killed at write {at}"
            assert status(project) == []

    monkeypatch.setattr(changing, "carry_out", killed_at_each)
    assert update(find_project(project.path), Options(yes=True), None, {}) == 0
    assert len(died) > 10
    undo.undo(find_project(project.path))
    assert everything(project.path) == before


def test_a_disk_that_is_full_costs_one_line_and_nothing_else(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(repository, CORE)
    before = everything(project.path)
    count = iter(range(100))

    copy = shutil.copyfileobj

    def full(source: Any, target: Any) -> None:
        if next(count) == 1:
            raise OSError(errno.ENOSPC, "No space left on device", target.name)
        copy(source, target)

    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    found = find_project(project.path)
    with pytest.raises(TemplateError, match=r"It can't be written: .*No space left on device.* Nothing was changed"):
        update(found, Options(yes=True), None, {})
    assert everything(project.path) == before
    monkeypatch.undo()
    script(project, "update", "--yes")
    count = iter(range(100))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(TemplateError, match=r"Not all could be set back: .*No space left on device"):
        undo.undo(found)
    undo.undo(found)
    assert everything(project.path) == before


def dying(function: Any, count: Iterator[int], at: int) -> Any:
    """The function, which dies before its call, or after it."""

    def or_die(*arguments: Any, **named: Any) -> Any:
        if next(count) == at:
            raise KilledError
        found = function(*arguments, **named)
        if next(count) == at:
            raise KilledError
        return found

    return or_die


def test_an_undo_that_is_killed_is_done_again(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(project.path)
    publish(repository, CORE)
    script(project, "update", "--yes")
    found = find_project(project.path)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    died: list[int] = []
    for at in range(100):
        with monkeypatch.context() as patch:
            count = iter(range(100))
            for module, name in ((undo, "put_into_index"), (files, "print_of"), (files, "_place"), (shutil, "move")):
                patch.setattr(module, name, dying(getattr(module, name), count, at))
            try:
                undo.undo(found)
            except KilledError:
                died.append(at)
            else:
                break
    assert len(died) > 5
    assert everything(project.path) == before


def test_undo_touches_nothing_that_the_change_did_not(project: Project) -> None:
    script(project, "add-queue", "--yes", "invoices")
    handler = project.path / "app/queue/handlers/invoices.py"
    handler.write_text("# staged\n", encoding="utf-8")
    run(project.path, "git", "add", str(handler))
    handler.write_text("# on disk\n", encoding="utf-8")
    (project.path / "app/main.py").write_text("# since\n", encoding="utf-8")
    (project.path / "new.txt").write_text("new\n", encoding="utf-8")
    script(project, "undo")
    assert sorted(status(project)) == [" M app/main.py", "?? new.txt", "AM app/queue/handlers/invoices.py"]
    assert handler.read_text(encoding="utf-8") == "# on disk\n"
    assert run(project.path, "git", "show", ":app/queue/handlers/invoices.py") == "# staged\n"


def test_what_has_taken_the_place_of_a_file_since_is_not_undone_over(project: Project) -> None:
    script(project, "add-queue", "--yes", "invoices")
    file = project.path / "queues.yaml"
    file.unlink()
    file.mkdir()
    (file / "mine.txt").write_text("mine\n", encoding="utf-8")
    said = script(project, "undo", code=1)
    assert "Something else is now in the place of queues.yaml" in said
    shutil.move(file, project.path / "mine")
    handler = project.path / "app/queue/handlers/invoices.py"
    handler.unlink()
    handler.mkdir()
    (handler / "mine.txt").write_text("mine\n", encoding="utf-8")
    script(project, "undo")
    assert sorted(status(project)) == ["?? app/queue/handlers/invoices.py/", "?? mine/"]
