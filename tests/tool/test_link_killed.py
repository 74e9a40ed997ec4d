"""A link is written in one step: what is killed, or in the way, leaves the old one; and undo takes it back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queue_template import files, link, record, relink, undo, writing
from queue_template.git import TemplateError
from queue_template.launch import COPIER, CRUFT
from queue_template.project import check_clean, find_project
from tests.conftest import Project
from tests.repository import commit, environment
from tests.tool.script import everything, script, status
from tests.tool.test_undo import KilledError, dying

PLACES: list[tuple[Any, str]] = [
    (files, "print_of"),
    (files, "_place"),
    (shutil, "move"),
    (writing, "put_into_index"),
    (writing, "save"),
    (record, "save"),
]


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def unlinked(project: Project) -> None:
    (project.path / CRUFT).unlink()
    commit(project.path, "Not linked")


def cached(function: Any) -> Any:
    """What cruft says takes a second each time."""
    made: list[dict[str, Any]] = []

    def once(*arguments: Any) -> dict[str, Any]:
        made[:] = made or [function(*arguments)]
        return dict(made[0])

    return once


def test_what_cruft_writes_is_not_written_into_the_project(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlinked(project)
    before, call = everything(project.path), vars(link)["call_cruft"]

    def killed(*arguments: Any, **named: Any) -> None:
        call(*arguments, **named)
        raise KilledError

    monkeypatch.setattr(link, "call_cruft", killed)
    with pytest.raises(KilledError):
        link.link(find_project(project.path), str(repository), None)
    assert everything(project.path) == before


def first(project: Project, url: str) -> Callable[[], int]:
    unlinked(project)
    return lambda: link.link(find_project(project.path), url, None)


def moved(project: Project, url: str) -> Callable[[], int]:
    where = shutil.copytree(url, f"{url}-moved")
    return lambda: link.link(find_project(project.path), str(where), None)


def to_copier(project: Project, _: str) -> Callable[[], int]:
    return lambda: relink.relink(find_project(project.path), COPIER)


def to_cruft(project: Project, url: str) -> Callable[[], int]:
    to_copier(project, url)()
    commit(project.path, "By copier")
    return lambda: relink.relink(find_project(project.path), CRUFT)


@pytest.mark.parametrize("kind", [first, moved, to_copier, to_cruft])
def test_a_link_that_is_killed_at_any_point_is_taken_back(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    act = kind(project, str(repository))
    made_by_cruft = cached(link.made_by_cruft)
    for module in (link, relink):
        monkeypatch.setattr(module, "made_by_cruft", made_by_cruft)
    found, before, died = find_project(project.path), everything(project.path), 0
    for at in range(100):
        count = iter(range(100))
        with monkeypatch.context() as patch:
            for module, name in PLACES:
                patch.setattr(module, name, dying(getattr(module, name), count, at))
            patch.setattr(writing, "take_back", dying(undo.take_back, iter([0]), 0))
            try:
                assert act() == 0
            except KilledError:
                died += 1
            else:
                break
        note = record.load(found.undo_folder())
        if note is not None:
            if not note.done:
                with pytest.raises(TemplateError, match="was broken off"):
                    check_clean(found)
            undo.undo(found)
        assert everything(project.path) == before, f"killed at {at}"
    assert died > 5
    assert status(project) != []
    undo.undo(found)
    assert everything(project.path) == before


def test_a_link_is_undone_by_the_command(project: Project) -> None:
    before = everything(project.path)
    script(project, "link", "--copier")
    assert f"Undone: Update by {COPIER}" in script(project, "undo")
    assert everything(project.path) == before
