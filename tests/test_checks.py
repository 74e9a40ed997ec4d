"""`queue-template check` and `faults` against a project: with its own code, and without a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from queue_template.checks import CONTRACT, FAULTS_USAGE, WITH_SERVER
from tests.conftest import ROOT, TOOLS, Bake, Project
from tests.repository import commit, run

CALL = """import sys
from pathlib import Path
from queue_template import checks
sys.exit(checks.{}(Path.cwd(), sys.argv[1:]))"""
ACME = "app/queue/providers/acme"
HANDLER = '''"""Handlers of the queue orders, with a database of their own."""

from typing import Any, Self

from sqlalchemy import String
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables."""


class Order(Base):
    """One order."""

    __tablename__ = "orders"
    number: Mapped[str] = mapped_column(String, primary_key=True)


class OrdersHandler:
    """Stores orders."""

    engine: AsyncEngine

    async def __aenter__(self) -> Self:
        self.engine = create_async_engine("sqlite+aiosqlite:///:memory:")
        async with self.engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.dispose()

    async def example(self, message: dict[str, Any]) -> None:
        """Store an order."""
'''


@pytest.fixture(scope="module")
def project(bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A user's: SQLAlchemy in a handler, a provider of its own, settings of pytest with which the suite can't run."""
    baked = bake(project_slug="checked", queues="orders; users@memory: sign_up")
    project = Project(tmp_path_factory.mktemp("checked") / "project with a blank")
    shutil.copytree(baked.path, project.path)
    (project.path / "app/queue/handlers/orders.py").write_text(HANDLER)
    replace(
        project.path / "pyproject.toml",
        "    # Yours: `uv add` puts",
        '    "sqlalchemy[asyncio]>=2",\n    "aiosqlite>=0.20",\n    # Yours: `uv add` puts',
    )
    replace(
        project.path / "pyproject.toml",
        'addopts = ["--strict-markers"',
        'python_files = ["check_*.py"]\naddopts = ["--no-such-option"',
    )
    replace(project.path / "pyproject.toml", 'asyncio_mode = "auto"', 'asyncio_mode = "strict"')
    shutil.copytree(project.path / "app/queue/providers/memory", project.path / ACME)
    for module in (project.path / ACME).glob("*.py"):
        replace(module, "providers.memory", "providers.acme")
    claims = (ROOT / "core_tests/contract/providers/memory.py").read_text()
    (project.path / CONTRACT).mkdir()
    contract = claims.replace("providers.memory", "providers.acme").replace('provider="memory"', 'provider="acme"')
    (project.path / CONTRACT / "acme.py").write_text(contract)
    run(project.path, str(TOOLS / "uv"), "sync", "--quiet", "--python", sys.executable)
    replace(project.path / "pyproject.toml", '    "aiosqlite>=0.20",', '    "aiosqlite>=0.20",\n    "colorama>=0.4",')
    # Which is neither locked nor installed, and isn't by a check either.
    run(project.path, "git", "init", "--quiet")
    commit(project.path, "mine")
    return project


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text or file.name != "pyproject.toml", old
    file.write_text(text.replace(old, new), encoding="utf-8")


def call(project: Project, function: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code, and what was printed."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", CALL.format(function), *arguments],
        cwd=project.path,
        env={**inherited, "UV": str(TOOLS / "uv"), "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def trace(project: Project) -> tuple[str, set[tuple[str, int, int]]]:
    """What git says, ignored files included; and every file of the project and its environment, with size and time."""
    found = {
        (file.relative_to(project.path).as_posix(), file.lstat().st_size, file.lstat().st_mtime_ns)
        for file in project.path.rglob("*")
        if ".git" not in file.parts
    }
    return run(project.path, "git", "status", "--porcelain", "--ignored"), found


def test_the_core_and_a_provider_of_the_users_own_are_put_to_the_test_and_nothing_is_changed(project: Project) -> None:
    before = trace(project)
    paths = (
        "core_tests/unit/test_register_handlers.py",
        "core_tests/service",
        "core_tests/contract/test_interfaces.py",
    )
    code, said = call(project, "check", "-q", "-m", "not broker and not slow", *paths)
    assert code == 0, said
    assert " passed" in said
    code, said = call(project, "check", "--collect-only", "-q", "-k", "acme or rabbitmq or redis or nats", "-n", "0")
    assert code == 0, said
    assert "[acme]" in said
    assert "rabbitmq/" in said
    assert "redis/" not in said
    assert "nats/" not in said
    assert trace(project) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "test"),
    [
        (
            "app/queue/settings/queues.py",
            "self.multiplier ** (failures - 1)",
            "self.multiplier ** failures",
            "core_tests/unit/test_config.py",
        ),
        (
            f"{ACME}/parts.py",
            "async def forget(self, delivery: Delivery) -> None:",
            "async def forget(self, delivery: Delivery) -> None:\n        return",
            "core_tests/contract/test_interfaces.py",
        ),
    ],
    ids=["the core", "their own provider"],
)
def test_what_a_user_breaks_is_noticed(project: Project, file: str, old: str, new: str, test: str) -> None:
    source = project.read(file)
    assert old in source
    try:
        (project.path / file).write_text(source.replace(old, new))
        options = ("-q", "-x", "-n", "0", "-m", "not broker and not slow", "-k", "retr or acme")
        code, said = call(project, "check", *options, test)
    finally:
        (project.path / file).write_text(source)
    assert code == 1, said
    assert " failed" in said


def test_the_fault_suite_is_that_of_the_projects_providers(project: Project, bake: Bake) -> None:
    before = trace(project)
    code, said = call(project, "faults", "--collect-only", "-q", "-n", "0")
    assert code == 0, said
    assert "faults/test_broker_dies.py" in said
    assert "redis/" not in said
    assert trace(project) == before
    code, said = call(bake(provider="memory"), "faults")
    assert (code, "nothing to do" in said) == (0, True)


def test_all_that_is_asked_for_wrongly_costs_a_line(project: Project, bake: Bake, tmp_path: Path) -> None:
    code, said = call(project, "faults", "--soak", "long")
    assert (code, FAULTS_USAGE in said) == (2, True)
    fresh = bake(project_slug="fresh")
    code, said = call(fresh, "check")
    assert (code, said) == (1, "Error: the project has no environment yet. Make it first: make setup\n")
    code, said = call(project, "check", UV="", PATH=str(tmp_path))
    assert (code, said) == (1, "Error: uv is not on the PATH.\n")


def test_every_provider_with_a_fault_suite_has_its_folder() -> None:
    assert all((ROOT / folder).is_dir() for folder in WITH_SERVER.values())
