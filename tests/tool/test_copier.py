"""The tool in a project that copier made, and the change from one origin to the other: real copier, real cruft."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ANSWERS_FILE, Bake, Project
from tests.releases import RELEASES, change, publish
from tests.repository import commit, run
from tests.test_cruft import no_conflict
from tests.tool.script import ANSWERS, CORE, HANDLER, STUB, answers, committed, fill_in, script, status

CRUFT = ".cruft.json"
COPIER = ("copier", "update", "--trust", "--defaults", "--quiet")
HOOK, REMOVED = (next(one for one in RELEASES if one.title == title) for title in ("a hook", "a removed file"))


@pytest.fixture
def copied(repository: Path, tmp_path: Path) -> Project:
    """A project that copier made."""
    data = [part for name, value in ANSWERS.items() for part in ("--data", f"{name}={value}")]
    run(tmp_path, "copier", "copy", *COPIER[2:], *data, str(repository), "copied")
    return committed(tmp_path / "copied")


def test_the_tool_copier_and_cruft_take_turns(copied: Project, repository: Path) -> None:
    fill_in(copied)
    commit(copied.path, "Work")
    # The tool adds a queue, with what copier wrote, and writes what copier would.
    script(copied, "add-queue", "--yes", "more@memory: a, b")
    assert 'orders: order.created; more@memory: a, b"' in copied.read(ANSWERS_FILE)
    script(copied, "undo")
    assert status(copied) == []
    script(copied, "add-queue", "--yes", "more@memory: a, b")
    commit(copied.path, "More")
    run(copied.path, *COPIER)
    assert status(copied) == []
    # A release by the tool, the next one by copier.
    publish(repository, CORE)
    script(copied, "update", "--yes")
    assert '\n_commit: "v0.2.0"\n' in copied.read(ANSWERS_FILE)
    assert "MAX_CRASHES = 7" in copied.read("app/queue/policy.py")
    commit(copied.path, "Updated")
    publish(repository, STUB)
    run(copied.path, *COPIER)
    assert "the message is finished" in copied.read(HANDLER)
    commit(copied.path, "Updated")
    assert "Up to date: v0.3.0" in script(copied, "status")
    # To cruft, and a release by it.
    script(copied, "link", "--cruft")
    assert status(copied) == [f"D  {ANSWERS_FILE}", f"A  {CRUFT}"]
    commit(copied.path, "By cruft")
    publish(repository, HOOK)
    run(copied.path, "cruft", "update", "--skip-apply-ask")
    assert no_conflict(copied)
    assert "more" in copied.read("docs/queues.md")
    commit(copied.path, "Updated")
    run(copied.path, "cruft", "check")
    # Back to copier, and a release by it.
    script(copied, "link", "--copier")
    assert status(copied) == [f"A  {ANSWERS_FILE}", f"D  {CRUFT}"]
    commit(copied.path, "By copier")
    publish(repository, REMOVED)
    run(copied.path, *COPIER)
    assert not (copied.path / "README.pt-BR.md").exists()
    assert 'logger.debug("mine")' in copied.read(HANDLER)
    assert "the message is finished" in copied.read(HANDLER)


def test_a_project_of_plain_cookiecutter_is_linked_for_copier(bake: Bake, repository: Path, tmp_path: Path) -> None:
    shutil.copytree(bake(**ANSWERS, description='A {{ strange }} "one" \u2028 é').path, tmp_path / "plain")
    project = committed(tmp_path / "plain")
    script(project, "link", str(repository), "--copier")
    assert status(project) == [f"A  {ANSWERS_FILE}"]
    commit(project.path, "Linked")
    run(project.path, *COPIER)
    assert status(project) == []  # it is what copier writes
    run(project.path, sys.executable, "template.py", "add-queue", "--yes", "more")
    assert ANSWERS_FILE in "".join(status(project))


def test_a_link_that_can_not_be_changed_is_said_in_one_line(project: Project, repository: Path) -> None:
    assert script(project, "link", "--cruft", code=1) == "Error: There is a .cruft.json already.\n"
    said = script(project, "link", str(repository), "--copier", code=1)
    assert said == f"Error: There is a {CRUFT} already. To have {ANSWERS_FILE} instead, leave out the URL.\n"
    before = answers(project)
    del before["__prompts__"]  # of `cruft create` alone: `cruft link` writes none
    script(project, "link", "--copier")
    (project.path / CRUFT).write_text("{}", encoding="utf-8")
    commit(project.path, "Both")
    said = script(project, "add-queue", "--yes", "more", code=1)
    assert said.startswith(f"Error: There are {CRUFT} and {ANSWERS_FILE}, and one links the project.")
    (project.path / CRUFT).unlink()
    commit(project.path, "One")
    change(project.path / ANSWERS_FILE, '_commit: "', "_commit: ")
    commit(project.path, "Broken")
    said = script(project, "add-queue", "--yes", "more", code=1)
    assert said.startswith(f"Error: {ANSWERS_FILE} can't be read")
    assert said.count("\n") == 1
    run(project.path, "git", "revert", "--no-edit", "HEAD")
    # cruft's file comes back as it was.
    script(project, "link", "--cruft")
    assert answers(project) == before


def test_a_template_that_knows_nothing_of_copier_is_not_linked_to_it(project: Project, repository: Path) -> None:
    run(repository, "git", "rm", "--quiet", "copier.yml")
    commit(repository, "Without it")
    script(project, "update", "--yes", "--to", "main")
    commit(project.path, "Updated")
    said = script(project, "link", "--copier", code=1)
    assert said.startswith("Error: The template can't be used by copier at v0.1.0-1-g")
    assert status(project) == []
