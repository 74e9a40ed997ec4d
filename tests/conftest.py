"""Baking, as a user does it."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.export import export

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
CORE_TESTS = ROOT / "core_tests"
LONGEST = ("test_matrix.py", "test_versions.py")
QUICK = ("-m", "not slow and not faults", "-n", "3", "--dist", "loadfile")
"""pytest's options for all tests of the core but the slow ones."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files are given to the workers in this order: begun last, a long one would run alone at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@dataclass(frozen=True)
class Project:
    """A baked project."""

    path: Path

    def files(self) -> set[str]:
        """All its files, relative, with '/'."""
        return {file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()}

    def read(self, name: str) -> str:
        """A file's text."""
        return (self.path / name).read_text(encoding="utf-8")

    def content(self) -> dict[str, tuple[bytes, int]]:
        """Every file's bytes, and its mode."""
        return {name: ((self.path / name).read_bytes(), (self.path / name).stat().st_mode) for name in self.files()}

    def check_every_file(self, *, answers_hold_jinja: bool = False) -> None:
        """Every file parses as what it is, holds no Jinja of ours, and ends in one line feed."""
        for name in self.files():
            text = self.read(name)
            # GitHub's own ${{ }} is not ours.
            assert answers_hold_jinja or not re.search(r"(?<!\$)\{\{ *cookiecutter|\{% *(if|for|raw|end)", text), name
            if name.endswith(".py"):
                ast.parse(text)
            elif name.endswith((".yaml", ".yml")):
                yaml.safe_load(text)
            elif name.endswith(".toml"):
                tomllib.loads(text)
            elif name.endswith(".json"):
                json.loads(text)
            assert "\r" not in text, name
            assert not text or (text.endswith("\n") and not text.endswith("\n\n")), name

    def run(self, *command: str, **environment: str) -> str:
        """Run a tool of the test environment in the project; it must succeed. Returns what it printed."""
        done = subprocess.run(
            [str(TOOLS / command[0]), *command[1:]],
            cwd=self.path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}"
        return done.stdout

    def run_core_tests(self, *arguments: str, python: str = sys.executable) -> str:
        """Run tests of the core against the project's own code; they must pass. Returns what pytest printed."""
        settings = ("-c", str(CORE_TESTS / "pytest.ini"), "-o", f"pythonpath={self.path} {ROOT}")
        with tempfile.TemporaryDirectory() as notes:  # hypothesis would take them in the project
            command = (python, "-m", "pytest", *settings, "-q", "-p", "no:cacheprovider", *arguments)
            return self.run(*command, HYPOTHESIS_STORAGE_DIRECTORY=notes)


Bake = Callable[..., Project]
ANSWERS_FILE = ".copier-answers.yml"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as git would give it to a user."""
    return export(tmp_path_factory.mktemp("template") / "queue-template")


@pytest.fixture(scope="session")
def bake(cookies_session: Any, template: Path) -> Bake:
    """Bake with these answers; the rest is Enter."""

    def with_answers(**answers: str) -> Project:
        result = cookies_session.bake(extra_context=answers, template=str(template))
        assert result.exception is None, result.exception
        assert result.exit_code == 0
        return Project(Path(result.project_path))

    return with_answers


@pytest.fixture(scope="session")
def copy(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Bake:
    """The same by copier."""

    def with_answers(**answers: str) -> Project:
        path = tmp_path_factory.mktemp("copier") / answers.get("project_slug", "queue-service")
        data = [part for name, value in answers.items() for part in ("--data", f"{name.lstrip('_')}={value}")]
        command = [str(TOOLS / "copier"), "copy", "--trust", "--defaults", "--quiet", *data, str(template), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return Project(path)

    return with_answers


@pytest.fixture(scope="session")
def default_project(bake: Bake) -> Project:
    """Enter all the way."""
    return bake()
