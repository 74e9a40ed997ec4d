"""What a command says can be used where it was called: names, commands, and news that is news."""

from __future__ import annotations

import shutil
from pathlib import Path

from queue_template.releases import parse, without
from tests.conftest import Project
from tests.releases import Release, change, publish
from tests.repository import commit, run
from tests.tool.script import CORE, committed, conflicting, script, status

SERVICE = "{{cookiecutter.project_slug}}"


def in_a_folder(project: Project, whole: Path) -> Project:
    """The project in a folder of a larger repository."""
    shutil.copytree(project.path, whole / "services/queue-service", ignore=shutil.ignore_patterns(".git"))
    committed(whole)
    return Project(whole / "services/queue-service")


def test_names_are_those_from_the_projects_folder_on(project: Project, repository: Path, tmp_path: Path) -> None:
    project = in_a_folder(project, tmp_path / "whole")
    conflicting(project, repository)
    said = script(project, "update", "--yes", code=3)
    assert "  CONFLICT  app/queue/policy.py\n" in said
    assert "\n  app/queue/policy.py: line " in said
    assert "Conflicts of an earlier merge are left in: app/queue/policy.py." in script(project, "status", code=1)
    run(project.path, "git", "checkout", "--ours", "app/queue/policy.py")
    run(project.path, "git", "add", "app/queue/policy.py")
    script(project, "undo")
    assert status(project) == []
    (project.path / "app/queue/new_part.py").write_text("mine\n", encoding="utf-8")
    (tmp_path / "whole/.gitignore").write_text("new_part.py\n", encoding="utf-8")
    assert "\n  app/queue/new_part.py: a file of yours" in script(project, "update", "--yes", code=1)


def test_a_makefile_in_conflict_stops_make_and_that_is_said(project: Project, repository: Path) -> None:
    line = "PORT ?= 8000\n"
    change(project.path / "Makefile", line, "PORT ?= 9000\n")
    commit(project.path, "Mine")
    publish(
        repository,
        Release("0.2.0", "a port", lambda root: change(root / SERVICE / "Makefile", line, "PORT ?= 7000\n")),
    )
    said = script(project, "update", "--yes", code=3)
    assert "make reads the Makefile, and can't run before that is resolved; the undo below can." in said
    script(project, "undo")
    assert status(project) == []


def requirement(root: Path) -> None:
    change(root / SERVICE / "pyproject.toml", "dependencies = [\n", 'dependencies = [\n    "httpx2>=2",\n')


def test_the_lock_is_committed_with_the_requirements(project: Project, repository: Path) -> None:
    (project.path / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    commit(project.path, "Locked")
    publish(repository, CORE)
    assert "uv.lock" not in script(project, "update", "--yes")
    commit(project.path, "Updated")
    publish(repository, Release("0.3.0", "a requirement", requirement))
    (project.path / "README.md").write_text("mine\n", encoding="utf-8")
    run(project.path, "git", "add", "README.md")
    said = script(project, "update", "--yes")
    assert (
        "run the tests, then: git add uv.lock && git commit -m 'Update the template from v0.2.0 to v0.3.0' -- " in said
    )
    assert " pyproject.toml uv.lock\n" in said


def test_an_update_to_where_the_project_is_changes_nothing(project: Project) -> None:
    assert "Up to date: v0.1.0" in script(project, "update", "--yes", "--to", "v0.1.0")
    assert status(project) == []


def test_a_queue_that_is_added_shows_no_answer_that_is_not_written(project: Project) -> None:
    assert "  answer " not in script(project, "add-queue", "--yes", "invoices")
    commit(project.path, "Added")
    assert "  answer    max_attempts: '5' -> '7'\n" in script(project, "set", "--yes", "max_attempts=7")


def test_what_the_older_changelog_has_is_no_news() -> None:
    old = "# Changelog\n\n## Unreleased\n\nNone yet.\n\n### Added\n\n- One\n  line\n- Two\n\n### Fixed\n\n- It\n"
    new = (
        "# Changelog\n\n## 0.2.0\n\n### Breaking\n\nRename it.\n\n### Added\n\n- Three\n\n"
        "## 0.1.0\n\n### Added\n\n- One\n  line\n- Two\n- Four\n\n### Fixed\n\n- It\n"
    )
    second, first = parse(without(old, new))
    assert second.text == "## 0.2.0\n\n### Breaking\n\nRename it.\n\n### Added\n\n- Three"
    assert second.breaking == "Rename it."
    assert first.text == "## 0.1.0\n\n### Added\n\n- Four"
    assert without("", new) == new


def test_what_two_releases_say_alike_is_news_of_both() -> None:
    released = "## 0.1.0\n\n### Breaking\n\n- Run `make setup`.\n"
    new = f"## 0.2.0\n\n### Breaking\n\n#### Queues\n\n- Run `make setup`.\n\n{released}"
    assert without(released, new) == new
    assert parse(without(released, new))[0].breaking == "#### Queues\n\n- Run `make setup`."


def test_a_lock_that_git_ignores_is_not_to_be_committed(project: Project, repository: Path) -> None:
    (project.path / ".gitignore").write_text(project.read(".gitignore") + "uv.lock\n", encoding="utf-8")
    commit(project.path, "Ignored")
    (project.path / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    publish(repository, Release("0.2.0", "a requirement", requirement))
    said = script(project, "update", "--yes")
    assert "git commit -m 'Update the template from v0.1.0 to v0.2.0'\n" in said
    assert "uv.lock" not in said
