"""Repositories in which git itself refuses something: filters without their program, sparse checkouts, other owners."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.releases import publish
from tests.repository import commit, run
from tests.tool.script import CORE, conflicting, everything, script, status

POLICY = "app/queue/policy.py"
TURNED = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
"""Its own way back."""


def attribute(project: Project, line: str) -> None:
    """An attribute that is only here, and no rule of the template's."""
    with (project.path / ".git/info/attributes").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def filtered(project: Project, pattern: str) -> None:
    """Files that git has backwards, as git-crypt has them encrypted."""
    turn = f'"{sys.executable}" -c "{TURNED}"'
    for key, value in (("clean", turn), ("smudge", turn), ("required", "true")):
        run(project.path, "git", "config", f"filter.turn.{key}", value)
    attribute(project, f"{pattern} filter=turn")
    for file in project.path.glob(pattern):
        file.touch()  # so that git looks at it again
    commit(project.path, "Filtered")


def without_its_program(project: Project) -> None:
    for key in ("clean", "smudge"):
        run(project.path, "git", "config", f"filter.turn.{key}", "no-such-program")


def sparse(project: Project, *patterns: str) -> None:
    """A sparse checkout, made as every git can."""
    run(project.path, "git", "config", "core.sparseCheckout", "true")
    (project.path / ".git/info/sparse-checkout").write_text("".join(f"{line}\n" for line in patterns), encoding="utf-8")
    run(project.path, "git", "read-tree", "-m", "-u", "HEAD")


def test_a_repository_of_another_owner_is_refused_in_gits_own_words(project: Project) -> None:
    for command in (["status"], ["add-queue", "--yes", "more"], ["undo"]):
        arguments = (sys.executable, "-m", "queue_template", *command)
        root = str(Path(__file__).parents[2])
        said = run(project.path, *arguments, code=1, PYTHONPATH=root, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
        assert "detected dubious ownership in repository" in said
        assert f"git config --global --add safe.directory {project.path}" in said
        assert "git init" not in said


def test_a_filter_without_its_program_is_in_nobodys_way_and_none_is_run(project: Project, repository: Path) -> None:
    (project.path / "secret.bin").write_text("secret", encoding="utf-8")
    filtered(project, "*.bin")
    without_its_program(project)
    (project.path / "secret.bin").touch()  # so that git has to look at it, and can't
    before = everything(project.path)
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 7" in project.read(POLICY)
    script(project, "undo")
    assert everything(project.path) == before


def test_a_file_that_the_template_changes_goes_through_its_filter_or_the_change_is_refused(
    project: Project, repository: Path
) -> None:
    with (project.path / POLICY).open("a", encoding="utf-8") as file:
        file.write("\nMINE = 1\n")
    filtered(project, POLICY)
    assert "MAX_CRASHES = 6"[::-1] in run(project.path, "git", "show", f"HEAD:{POLICY}")
    before = everything(project.path)
    publish(repository, CORE)
    without_its_program(project)
    said = script(project, "update", "--yes", code=1)
    assert f"{POLICY} is to change, and git keeps it under the filter 'turn', which fails here" in said
    assert "no-such-program" in said
    assert everything(project.path) == before
    filtered(project, POLICY)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 7" in project.read(POLICY)
    assert project.read(POLICY).endswith("MINE = 1\n")
    assert "MAX_CRASHES = 7"[::-1] in run(project.path, "git", "show", f":{POLICY}")
    assert f"M  {POLICY}" in status(project)
    without_its_program(project)
    script(project, "undo")
    assert everything(project.path) == before


def test_a_conflict_in_a_file_under_a_filter_can_be_resolved(project: Project, repository: Path) -> None:
    filtered(project, POLICY)
    conflicting(project, repository)
    script(project, "update", "--yes", code=3)
    assert "<<<<<<< HEAD\nMAX_CRASHES = 9\n|||||||" in project.read(POLICY)
    assert "MAX_CRASHES = 7"[::-1] in run(project.path, "git", "show", f":3:{POLICY}")
    assert run(project.path, "git", "show", f":2:{POLICY}") == run(project.path, "git", "show", f"HEAD:{POLICY}")


def test_lines_end_on_disk_as_git_was_told(project: Project, repository: Path) -> None:
    attribute(project, "*.py text eol=crlf")
    run(project.path, "git", "rm", "--quiet", "-r", "--cached", ".")
    run(project.path, "git", "reset", "--hard", "--quiet")
    assert b"MAX_CRASHES = 6\r\n" in (project.path / POLICY).read_bytes()
    before = everything(project.path)
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert b"MAX_CRASHES = 7\r\n" in (project.path / POLICY).read_bytes()
    assert b"\r\n" in (project.path / "app/queue/new_part.py").read_bytes()
    assert "\r" not in run(project.path, "git", "show", f":{POLICY}")
    assert sorted(status(project)) == ["A  app/queue/new_part.py", "M  .cruft.json", f"M  {POLICY}"]
    script(project, "undo")
    assert everything(project.path) == before


@pytest.mark.parametrize("conflict", [False, True])
def test_in_a_sparse_checkout_only_a_conflict_is_put_on_disk(
    project: Project, repository: Path, *, conflict: bool
) -> None:
    conflicting(project, repository) if conflict else publish(repository, CORE)
    sparse(project, "/*", f"!/{POLICY}")
    assert not (project.path / POLICY).exists()
    before = everything(project.path)
    script(project, "update", "--yes", code=3 if conflict else 0)
    if conflict:
        assert "<<<<<<< HEAD\nMAX_CRASHES = 9\n" in project.read(POLICY)
    else:
        assert not (project.path / POLICY).exists()
        assert sorted(status(project)) == ["A  app/queue/new_part.py", "M  .cruft.json", f"M  {POLICY}"]
        assert "MAX_CRASHES = 7" in run(project.path, "git", "show", f":{POLICY}")
    script(project, "undo")
    assert everything(project.path) == before


def test_what_a_partial_clone_lacks_is_fetched(project: Project, repository: Path, tmp_path: Path) -> None:
    run(project.path, "git", "config", "uploadpack.allowFilter", "true")
    run(tmp_path, "git", "clone", "--quiet", "--filter=blob:none", "--no-checkout", project.path.as_uri(), "clone")
    clone = Project(tmp_path / "clone")
    sparse(clone, "/*", f"!/{POLICY}", "!/docs/")
    publish(repository, CORE)
    script(clone, "update", "--yes")
    assert "MAX_CRASHES = 7" in run(clone.path, "git", "show", f":{POLICY}")
    assert not (clone.path / "docs").exists()


def test_a_git_that_finds_no_bare_repository_by_itself_is_told_of_the_mirror(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[safe]\n\tbareRepository = explicit\n", encoding="utf-8")
    publish(repository, CORE)
    arguments = (sys.executable, "-m", "queue_template", "update", "--yes")
    root = str(Path(__file__).parents[2])
    run(project.path, *arguments, PYTHONPATH=root, GIT_CONFIG_GLOBAL=str(tmp_path / "config"))
    assert "MAX_CRASHES = 7" in project.read(POLICY)


def test_repositories_of_its_own_are_of_the_format_they_have_to_be_of(project: Project, repository: Path) -> None:
    mirror = project.path / ".git/queue-template.git"
    run(project.path, "git", "init", "--quiet", "--bare", "--object-format=sha256", str(mirror))
    publish(repository, CORE)
    arguments = (sys.executable, "-m", "queue_template", "update", "--yes")
    root = str(Path(__file__).parents[2])
    run(project.path, *arguments, PYTHONPATH=root, GIT_DEFAULT_HASH="sha256")
    assert "MAX_CRASHES = 7" in project.read(POLICY)
    assert "Up to date: v0.2.0" in script(project, "status")


def test_what_a_filter_keeps_out_of_git_is_neither_overwritten_nor_lost(project: Project, repository: Path) -> None:
    scrub = "import re, sys; print(re.sub('KEY = .*', 'KEY = 0', sys.stdin.read()), end='')"
    run(project.path, "git", "config", "filter.scrub.clean", f'"{sys.executable}" -c "{scrub}"')
    attribute(project, f"{POLICY} filter=scrub")
    plain = project.read(POLICY)
    (project.path / POLICY).write_text(f"{plain}\nKEY = 0\n", encoding="utf-8")
    commit(project.path, "Without the key")
    (project.path / POLICY).write_text(f"{plain}\nKEY = 7\n", encoding="utf-8")
    assert status(project) == []
    before = everything(project.path)
    publish(repository, CORE)
    said = script(project, "update", "--yes", code=1)
    assert f"{POLICY}: it has what the filter 'scrub' keeps out of git" in said
    assert everything(project.path) == before
    (project.path / POLICY).write_text(f"{plain}\nKEY = 0\n", encoding="utf-8")
    script(project, "update", "--yes")
    (project.path / POLICY).write_text(f"{project.read(POLICY)}KEY = 78\n", encoding="utf-8")
    kept = script(project, "undo").split("git diff HEAD ")[1].split(",")[0]
    assert project.read(POLICY) == f"{plain}\nKEY = 0\n"
    assert run(project.path, "git", "show", f"{kept}:{POLICY}").endswith("KEY = 78\n")
