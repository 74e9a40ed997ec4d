"""What somebody saves, or stages, while the tool writes: it is not lost, and the change is not made."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queue_template import commands, files, undo, writing
from queue_template.change import Options
from queue_template.git import TemplateError
from queue_template.project import find_project
from queue_template.record import load
from tests.conftest import Project
from tests.repository import environment, run
from tests.tool.script import HANDLER, everything, script

YES = Options(yes=True)
QUEUES, NEW = "queues.yaml", "app/queue/handlers/invoices.py"
Act = Callable[[], None]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def saving(path: Path) -> Act:
    """As most editors save: a file beside it takes its place."""

    def save() -> None:
        new = path.with_name("being saved")
        new.write_text("mine\n", encoding="utf-8")
        new.replace(path)

    return save


def at(
    patch: pytest.MonkeyPatch, module: Any, name: str, act: Act, when: Callable[..., bool] = lambda *_: True
) -> None:
    """Have something happen once, right before a function is called."""
    function, waiting = getattr(module, name), [act]

    def after_that(*arguments: Any, **named: Any) -> Any:
        if waiting and when(*arguments):
            waiting.pop()()
        return function(*arguments, **named)

    patch.setattr(module, name, after_that)


def check_only_that_is_other(project: Project, before: dict[str, object], name: str) -> None:
    assert project.read(name) == "mine\n"
    after = everything(project.path)
    assert {**after, name: None} == {**before, name: None}


SEAMS = ("before git is asked", "before it is moved away", "before the new one is there")


@pytest.mark.parametrize("seam", SEAMS)
@pytest.mark.parametrize("name", [QUEUES, NEW])
def test_what_is_saved_meanwhile_stays_and_all_else_is_as_it_was(
    project: Project, monkeypatch: pytest.MonkeyPatch, seam: str, name: str
) -> None:
    before, path = everything(project.path), project.path / name
    found = find_project(project.path)
    if seam == SEAMS[0]:
        at(monkeypatch, writing, "check_nothing_is_in_the_way", saving(path))
    elif seam == SEAMS[1]:
        at(monkeypatch, writing, "write", saving(path))
    else:
        at(monkeypatch, files, "_place", saving(path), lambda _, target: target == path)
    with pytest.raises(TemplateError, match=rf"{path.name}(?: was changed while this ran|: )"):
        commands.add_queue(found, YES, "invoices")
    check_only_that_is_other(project, before, name)
    assert load(found.undo_folder()) is None


def test_what_is_saved_meanwhile_is_not_deleted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(project.path)
    at(monkeypatch, writing, "write", saving(project.path / HANDLER))
    with pytest.raises(TemplateError, match="was changed while this ran"):
        commands.remove_queue(find_project(project.path), YES, "orders", delete_edited=True)
    check_only_that_is_other(project, before, HANDLER)


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open can't be moved there: that is one line")
def test_what_is_written_into_an_open_file_stays(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(project.path)
    with (project.path / QUEUES).open("r+", encoding="utf-8") as file:

        def write() -> None:
            file.truncate(0)
            file.write("mine\n")
            file.flush()

        at(monkeypatch, files, "_place", write, lambda _, target: target.name == QUEUES)
        with pytest.raises(TemplateError, match="was changed while this ran"):
            commands.add_queue(find_project(project.path), YES, "invoices")
    check_only_that_is_other(project, before, QUEUES)


def test_what_is_staged_meanwhile_stays(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(project.path)

    def stage() -> None:
        run(project.path, "git", "update-index", "--chmod=+x", QUEUES)

    at(monkeypatch, files, "_place", stage)
    with pytest.raises(TemplateError, match=f"Staged while this ran: {QUEUES}"):
        commands.add_queue(find_project(project.path), YES, "invoices")
    after = everything(project.path)
    assert str(after["index"]).replace("100755", "100644") == str(before["index"]).replace("100755", "100644")
    assert {**after, "index": None} == {**before, "index": None}
    assert "new mode 100755" in run(project.path, "git", "diff", "--cached")


@pytest.mark.parametrize("seam", ["before it is moved away", "before the old one is there"])
def test_what_is_saved_during_an_undo_stays_and_the_undo_is_done_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    before, path = everything(project.path), project.path / QUEUES
    script(project, "add-queue", "--yes", "invoices")
    if seam == "before it is moved away":
        at(monkeypatch, undo, "save", saving(path))
    else:
        at(monkeypatch, files, "_place", saving(path), lambda _, target: target == path)
    found = find_project(project.path)
    with pytest.raises(TemplateError, match="was changed while this ran"):
        undo.undo(found)
    assert project.read(QUEUES) == "mine\n"
    kept = undo.undo(found).split("git diff HEAD ")[1].split(",")[0]
    assert run(project.path, "git", "show", f"{kept}:{QUEUES}") == "mine\n"
    assert everything(project.path) == before


class KilledError(BaseException):
    """Nothing that the tool does after it counts."""


@pytest.mark.skipif(sys.platform == "win32", reason="no link is made there")
def test_on_a_file_system_without_links_the_same_is_done(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    before, found = everything(project.path), find_project(project.path)
    monkeypatch.setattr(os, "link", refused)
    commands.add_queue(found, YES, "invoices")
    assert "invoices" in project.read(QUEUES)
    undo.undo(found)
    assert everything(project.path) == before
    for name in (QUEUES, NEW):
        with monkeypatch.context() as patch:
            killed_in_between(patch, project.path / name)
            with pytest.raises(KilledError):
                commands.add_queue(found, YES, "invoices")
            assert project.read(name) == ""
        assert "was broken off" in script(project, "status", code=1)
        script(project, "undo")
        assert everything(project.path) == before


def killed_in_between(patch: pytest.MonkeyPatch, path: Path) -> None:
    """Killed when it has the place of a file, and not yet the file."""

    def kill() -> None:
        raise KilledError

    at(patch, Path, "replace", kill, lambda _, target: target == path)
    patch.setattr(writing, "take_back", lambda *_: kill())
