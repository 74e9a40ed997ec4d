"""The generated project's Makefile: each target runs in an environment that is as pyproject.toml and uv.lock say."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import TOOLS, Project
from tests.releases import change
from tests.repository import run

PROBE = """include Makefile
probe: $(TOOLS)
	@$(RUN) python -c "import sys, pytest, tenacity; from importlib.metadata import version; \\
	print(sys.prefix, version('tenacity'))"
"""


@pytest.fixture(scope="module")
def locked(default_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a lock."""
    folder = shutil.copytree(default_project.path, tmp_path_factory.mktemp("locked") / "queue-service")
    (folder / "probe.mk").write_text(PROBE, encoding="utf-8")
    run(folder, "uv", "lock", "--quiet")
    return folder


@pytest.fixture
def folder(locked: Path, tmp_path: Path) -> Path:
    """This test's own project, with no environment yet."""
    return shutil.copytree(locked, tmp_path / "work" / "queue-service")


@pytest.fixture
def only_uv(tmp_path: Path) -> str:
    """A PATH with uv, in a folder with a blank, and with no other tool of the tests."""
    tools = tmp_path / "my tools"
    tools.mkdir()
    (tools / "uv").symlink_to(TOOLS / "uv")
    others = [entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != TOOLS]
    return os.pathsep.join([str(tools), *others])


def probe(folder: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    """What a target of the Makefile says of the environment that it runs in."""
    return run(folder, "make", "--silent", "-f", "probe.mk", "probe", *arguments, code=code, **variables)


def environment_of(folder: Path) -> str:
    return probe(folder).split()[0]


def test_what_a_pull_changes_in_the_lock_is_installed_by_whatever_runs_next(folder: Path) -> None:
    run(folder, "make", "setup")
    newest = probe(folder).split()[1]
    run(folder, "uv", "lock", "--quiet", "--upgrade-package", "tenacity==9.1.2")
    assert newest != "9.1.2"
    assert probe(folder).split()[1] == "9.1.2"


def test_an_environment_whose_interpreter_went_is_made_anew(folder: Path) -> None:
    run(folder, "make", "setup")
    python = folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert environment_of(folder) == str(folder / ".venv")


def test_a_folder_that_was_renamed_goes_on_working(folder: Path, only_uv: str) -> None:
    run(folder, "make", "setup")
    renamed = folder.rename(folder.with_name("renamed"))
    assert environment_of(renamed) == str(renamed / ".venv")
    run(renamed, "make", "lint", PATH=only_uv)


def test_a_member_of_a_workspace_uses_the_environment_of_the_workspace(folder: Path) -> None:
    (folder.parent / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*"]\n', encoding="utf-8")
    (folder / "uv.lock").unlink()
    assert environment_of(folder) == str(folder.parent / ".venv")


def test_an_environment_may_be_in_another_place(folder: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "environment")
    assert probe(folder, UV_PROJECT_ENVIRONMENT=place).split()[0] == place
    assert not (folder / ".venv").exists()


def test_tools_of_development_are_there_whatever_the_machine_is_set_to(folder: Path) -> None:
    probe(folder, UV_NO_DEV="1")
    shutil.rmtree(folder / ".venv")
    run(folder, "make", "setup", UV_NO_DEV="1")
    assert (folder / ".venv/bin/pytest").exists()


def test_uv_may_be_in_a_folder_with_a_blank(folder: Path, only_uv: str) -> None:
    assert " " in only_uv
    run(folder, "make", "setup", PATH=only_uv)
    probe(folder, PATH=only_uv)
    assert "There is no .cruft.json. Link the project" in run(folder, "make", "undo", code=2, PATH=only_uv)
    assert not (folder / ".tools").exists()


def test_a_uv_that_is_too_old_is_told_so(folder: Path) -> None:
    change(folder / "pyproject.toml", 'required-version = ">=0.9"', 'required-version = ">=99"')
    said = [line for line in probe(folder, code=2).splitlines() if not line.startswith("make")]
    assert len(said) <= 2  # uv may add how it is updated, which depends on how it was installed
    assert "Required uv version `>=99` does not match the running version" in said[0]


def test_the_service_is_found_whatever_the_machine_says_of_paths(folder: Path) -> None:
    variables = {"PYTHONSAFEPATH": "1", "QUEUES_FILE": "/nowhere/queues.yaml"}
    assert "/nowhere/queues.yaml" in run(folder, "make", "run", code=2, **variables)


def test_every_recipe_goes_by_uv(folder: Path) -> None:
    makefile = (folder / "Makefile").read_text(encoding="utf-8")
    recipes = [line for line in makefile.splitlines() if line.startswith("\t") and not line.startswith("\t@")]
    by_uv = re.compile(r'\t([A-Z_]+=\S+ )*(exec )?(\$\(RUN\)|\$\(TEMPLATE\)|"\$\(UV\)") ')
    others = [line for line in recipes if not by_uv.match(line)]
    assert [line.split()[0] for line in others] == ["$(or", ".tools/bin/python", "rm"]  # where there is no uv; clean
