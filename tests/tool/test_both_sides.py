"""What both sides changed is merged if the file then says both; else it is a conflict that waits for the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Project
from tests.releases import SERVICE, Release, change, publish
from tests.repository import commit
from tests.tool.script import script, status

LAST_IGNORE = '"{contract,tests}/**" = ["ARG", "D", "INP001", "N802", "PLC0415", "S", "SLF001"]\n'
HTTP = "from app.queue.api import publish_failed"


def extra(project: Project) -> None:
    change(project.path / "pyproject.toml", '"uvicorn>=0.38,<1"', '"uvicorn[standard]>=0.38,<1"')


def raised(root: Path) -> None:
    change(root / SERVICE / "pyproject.toml", '"uvicorn>=0.38,<1"', '"uvicorn>=0.44,<1"')


def ruff_elsewhere(project: Project) -> None:
    text = project.read("pyproject.toml")
    (project.path / "pyproject.toml").write_text(text.partition("\n[tool.ruff]")[0], encoding="utf-8")


def one_more_ignored(root: Path) -> None:
    change(root / SERVICE / "pyproject.toml", LAST_IGNORE, f'{LAST_IGNORE}"scripts/**" = ["S"]\n')


def no_entry(project: Project) -> None:
    text = project.read("queues.yaml")
    (project.path / "queues.yaml").write_text(text.partition("\n  - name: orders\n")[0], encoding="utf-8")


def under_another_key(project: Project) -> None:
    """What was the last queue's: git sees lines put in before and behind it, and the rest unchanged."""
    head, dlq, tail = project.read("queues.yaml").rpartition("    dlq:\n")
    (project.path / "queues.yaml").write_text(f"{head}mine:\n{dlq}{tail}      # Ours.\n", encoding="utf-8")


def one_more_key(root: Path) -> None:
    change(root / SERVICE / "queues.yaml", "retry_interval }}\n", "retry_interval }}\n      passes: 3\n")


def alias(project: Project) -> None:
    change(project.path / "app/main.py", HTTP, f"{HTTP} as failed")
    change(project.path / "app/main.py", "PublishError, publish_failed", "PublishError, failed")


def module_elsewhere(root: Path) -> None:
    service = root / SERVICE
    (service / "app/queue/api.py").rename(service / "app/queue/http.py")
    change(service / "app/main.py", "app.queue.api", "app.queue.http")


def another_encoding(project: Project) -> None:
    with (project.path / ".gitignore").open("a", encoding="latin-1") as file:
        file.write("für-uns/\n")


def ignored(root: Path) -> None:
    with (root / SERVICE / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("*.log\n")


@pytest.mark.parametrize(
    ("name", "own", "new"),
    [
        ("pyproject.toml", extra, raised),
        ("pyproject.toml", ruff_elsewhere, one_more_ignored),
        ("queues.yaml", no_entry, one_more_key),
        ("queues.yaml", under_another_key, one_more_key),
        ("app/main.py", alias, module_elsewhere),
        (".gitignore", another_encoding, ignored),
    ],
)
def test_what_can_not_be_said_together_waits_for_the_user(
    project: Project, repository: Path, name: str, own: object, new: object
) -> None:
    assert callable(own)
    assert callable(new)
    own(project)
    commit(project.path, "Work")
    publish(repository, Release("0.2.0", "news", new))
    said = script(project, "update", "--yes", code=3)
    assert f"  {name}: line " in said
    assert f"UU {name}" in status(project)
    assert f"note      {name}" not in said
    assert b"<<<<<<< " in (project.path / name).read_bytes()
    script(project, "undo")
    assert status(project) == []


def test_a_comment_behind_a_version_stays(project: Project, repository: Path) -> None:
    change(project.path / "pyproject.toml", '"pytest>=9.0",', '"pytest>=9.0",  # until #77')
    change(project.path / "compose.yaml", "rabbitmq:4.1-management", "rabbitmq:4.1-management  # ops pins this")
    text = project.read("pyproject.toml")
    compose = project.read("compose.yaml")
    commit(project.path, "Work")

    def make(root: Path) -> None:
        change(root / SERVICE / "pyproject.toml", '"pytest>=9.0"', '"pytest>=9.1"')
        change(root / SERVICE / "compose.yaml", "rabbitmq:4.1-management", "rabbitmq:4.2-management")

    publish(repository, Release("0.2.0", "versions", make))
    script(project, "update", "--yes")
    assert project.read("pyproject.toml") == text.replace("pytest>=9.0", "pytest>=9.1")
    assert project.read("compose.yaml") == compose.replace("rabbitmq:4.1", "rabbitmq:4.2")
