"""A template with one release, and a project of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.releases import change, make_repository
from tests.repository import run
from tests.tool.script import ANSWERS, committed


@pytest.fixture(scope="session")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the template, released as v0.1.0, and a project of it, committed."""
    folder = tmp_path_factory.mktemp("made")
    repository = make_repository(template, folder / "queue-template")
    run(folder, "cruft", "create", "--no-input", "--extra-context", json.dumps(ANSWERS), str(repository))
    committed(folder / "queue-service")
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Path:
    """The template of this test's own."""
    return shutil.copytree(made / "queue-template", tmp_path / "queue-template")


@pytest.fixture
def project(made: Path, repository: Path, tmp_path: Path) -> Project:
    """A project of this test's own."""
    project = Project(shutil.copytree(made / "queue-service", tmp_path / "queue-service"))
    change(project.path / ".cruft.json", str(made / "queue-template"), str(repository))
    run(project.path, "git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    return project
