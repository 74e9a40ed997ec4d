"""Who opens a file sees at once whether it is theirs: each one that isn't says so in its first line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Bake

THEIRS = "The template's: an update changes it. Which files are yours: README.md."
SHARED = "From the template, and yours to change: an update merges both."
MARKS = {
    r"app/queue/handlers/(?!__init__|register_handlers)|app/main\.py|queues\.yaml|tests/handlers/test_": "",
    r"(app|tests|docs)/|template\.py": THEIRS,
    r"": SHARED,
}
"""A pattern of names, and what the first line says: the first that fits. Nothing: it is the user's."""
SILENT = {".queue-template.json", ".devcontainer/devcontainer.json"}
"""JSON has no comments. README names the first folder's files."""


def missing(folder: Path) -> list[str]:
    """The files of a project whose first line does not say whose they are."""
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        mark = next(mark for pattern, mark in MARKS.items() if re.match(pattern, name))
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        says = [text for text in (THEIRS, SHARED) if text in first]
        if name not in SILENT and says != ([mark] if mark else []):
            found.append(name)
    return found


@pytest.mark.parametrize(
    "answers",
    [{}, {"queues": "a@rabbitmq: x; b@redis: y; c@nats: z; d@memory: w"}, {"provider": "memory"}],
    ids=["default", "every provider", "no broker"],
)
def test_every_file_says_in_its_first_line_whose_it_is(bake: Bake, answers: dict[str, str]) -> None:
    assert missing(bake(**answers).path) == []


@pytest.mark.parametrize(
    ("name", "line"), [("app/queue/new.py", '"""Of the template."""'), ("app/queue/handlers/orders.py", f"# {THEIRS}")]
)
def test_one_that_does_not_is_named(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(line)
    assert missing(tmp_path) == [name]
