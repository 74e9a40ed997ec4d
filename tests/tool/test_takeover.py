"""A project from before the tool was in this repository is taken over by one update, whoever makes it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, TOOLS, Bake, Project
from tests.releases import Release, make_repository, publish
from tests.repository import commit, run
from tests.tool.script import ANSWERS, CORE, committed, script, status
from tests.tool.test_launch import launch
from tests.touched import touch

BEFORE = "22486c5"
"""The last commit whose projects had the program that merges, and the tests of the core, in themselves."""
OWN_TEST = '''"""A test of the user's own, in the old way."""

from tests.tools.handlers import handler_of


async def test_mine() -> None:
    async with handler_of("orders") as handler:
        await handler.process_message({"type": "order.created", "user_id": 1})
'''
OWN_TEST_NOW = OWN_TEST.replace("tests.tools.handlers", "app.queue.testing")
OWN_TARGET = "\nmine: ## what the user added\n\t@echo mine\n"


@pytest.fixture(scope="module")
def old_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as it was."""
    folder = tmp_path_factory.mktemp("old") / "queue-template"
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode != 0 and run(ROOT, "git", "rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.skip(f"this is a shallow clone, without {BEFORE}; CI fetches the whole history")
    assert archive.returncode == 0, f"the history must reach back to {BEFORE}: {archive.stderr.decode()}"
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture
def taken(old_template: Path, template: Path, tmp_path: Path) -> tuple[Project, Path]:
    """A project of the old template, and the template's repository, in which what it is today was just released."""
    repository = make_repository(old_template, tmp_path / "queue-template")
    run(tmp_path, "cruft", "create", "--no-input", "--extra-context", json.dumps(ANSWERS), str(repository))

    def today(root: Path) -> None:
        for path in root.iterdir():
            if path.name not in (".git", "CHANGELOG.md"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(template, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("CHANGELOG.md"))

    publish(repository, Release("0.2.0", "the tool", today))
    return committed(tmp_path / "queue-service"), repository


def work(project: Project) -> dict[str, list[str]]:
    """What the user did. Returns their lines of every file."""
    lines = touch(project.path)
    (project.path / "tests/handlers/test_mine.py").write_text(OWN_TEST, encoding="utf-8")
    with (project.path / "Makefile").open("a", encoding="utf-8") as file:
        file.write(OWN_TARGET)
    run(project.path, "uv", "lock", "--quiet")
    commit(project.path, "Work")
    cache = project.path / "template" / "__pycache__"  # which git does not know of
    cache.mkdir(exist_ok=True)
    (cache / "old.pyc").write_bytes(b"old")
    return lines | {"tests/handlers/test_mine.py": OWN_TEST.splitlines(), "Makefile": OWN_TARGET.splitlines()}


def by_its_own_program(project: Project) -> str:
    command = (sys.executable, "-m", "template", "update", "--yes")
    return run(project.path, *command, TEMPLATE_CRUFT=str(TOOLS / "cruft"))


def by_the_tool(project: Project) -> str:
    return script(project, "update", "--yes")


@pytest.mark.parametrize("update", [by_its_own_program, by_the_tool])
def test_an_old_project_is_taken_over_by_one_update_which_can_be_taken_back(
    taken: tuple[Project, Path], update: object, bake: Bake
) -> None:
    assert callable(update)
    project, repository = taken
    before = work(project)
    if by_tool := update is by_the_tool:
        before["tests/handlers/test_mine.py"] = OWN_TEST_NOW.splitlines()
    head = run(project.path, "git", "rev-parse", "HEAD")
    assert "Done and staged." in update(project)
    if by_tool:
        assert "Undone: Update the template from v0.1.0 to v0.2.0" in launch(project, "undo")
    else:
        run(project.path, "git", "reset", "--hard", "--quiet")
    assert status(project) == []
    assert (project.path / "template/__main__.py").is_file()
    update(project)
    # Nothing of the user's is lost; the rest is as in a fresh project.
    for name, lines in before.items():
        text = project.read(name)
        assert [line for line in lines if not any(found.startswith(line) for found in text.splitlines())] == [], name
    fresh = bake(**ANSWERS)
    there = set(run(project.path, "git", "ls-files").splitlines())
    assert there - fresh.files() == {"app/mine.py", "tests/handlers/test_mine.py", "uv.lock", ".cruft.json"}
    assert fresh.files() - there == set()
    for name in fresh.files() - before.keys():
        assert project.read(name) == fresh.read(name), name
    assert run(project.path, "git", "rev-parse", "HEAD") == head
    commit(project.path, "Taken over")
    project.run("ruff", "check", "--no-cache", ".")
    if by_tool:
        handlers_are_tested(project)
    assert launch(project, "status", "--exit-code").startswith("Up to date: v0.2.0 of ")
    # The old command is the new tool, although the old folder may still be there, with its cache.
    assert os.fspath(repository) in run(project.path, sys.executable, "-m", "template", "status")
    publish(repository, Release("0.3.0", CORE.title, CORE.make))
    assert "does this update" in launch(project, "update", "--yes")
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    # The old program left an import to the user, as the CHANGELOG says; the first change that the tool makes mends it.
    handlers_are_tested(project)


def handlers_are_tested(project: Project) -> None:
    """Those that were written in the old way as well."""
    assert project.read("tests/handlers/test_mine.py") == OWN_TEST_NOW
    project.run("pytest", "-q", "-p", "no:cacheprovider", "tests/handlers")
    project.run("ruff", "check", "--no-cache", ".")
