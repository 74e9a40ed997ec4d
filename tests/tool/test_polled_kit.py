"""The half of the kit for polled brokers comes and goes by an answer that no question asks for."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import Bake, Project
from tests.releases import publish
from tests.repository import commit, run
from tests.test_bake import POLLED_KIT
from tests.tool.script import CORE, STUB, answers, committed, script, status

NAMING_IT = {".cruft.json", ".queue-template.json", "docs/architecture.md"}
OWN = "app/queue/providers/acme/leases.py"


def write_provider(project: Project) -> None:
    """A file of a provider of the user's own."""
    (project.path / OWN).parent.mkdir()
    (project.path / OWN).write_text("from app.queue.broker.leases import Leases\n", encoding="utf-8")
    commit(project.path, "Acme")


def test_it_comes_by_an_answer_stays_in_an_update_and_goes_by_another_answer(
    project: Project, repository: Path
) -> None:
    before = project.files()
    said = script(project, "set", "--yes", "_polled_kit=yes")
    assert "answer    _polled_kit: 'no' -> 'yes'" in said
    assert {line.split()[1] for line in status(project)} == {*POLLED_KIT, *NAMING_IT}
    commit(project.path, "Kit")
    write_provider(project)
    publish(repository, CORE)
    script(project, "update", "--yes")
    commit(project.path, "Updated")
    assert answers(project)["_polled_kit"] == "yes"
    assert project.files() >= POLLED_KIT
    script(project, "set", "--yes", "_polled_kit=no")
    commit(project.path, "No kit")
    assert without_git(project.files()) - without_git(before) == {OWN, "app/queue/new_part.py"}
    assert without_git(before) - without_git(project.files()) == set()


def test_what_the_user_edited_stays(project: Project) -> None:
    script(project, "set", "--yes", "_polled_kit=yes")
    commit(project.path, "Kit")
    edited = "app/queue/broker/polling.py"
    with (project.path / edited).open("a", encoding="utf-8") as file:
        file.write("# mine\n")
    commit(project.path, "Work")
    said = script(project, "set", "--yes", "_polled_kit=no")
    assert f"note      {edited}: stays as you have it" in said
    assert POLLED_KIT & project.files() == {edited}


def test_it_stays_while_a_queue_is_at_a_polled_broker(project: Project) -> None:
    script(project, "add-queue", "--yes", "more@redis")
    commit(project.path, "Redis")
    for answer in ("yes", "no"):
        script(project, "set", "--yes", f"_polled_kit={answer}")
        commit(project.path, answer)
        assert project.files() >= POLLED_KIT
    script(project, "remove-queue", "--yes", "more")
    assert not POLLED_KIT & project.files()


def test_a_wrong_value_costs_one_line_that_says_what_is_right(project: Project) -> None:
    said = script(project, "set", "--yes", "_polled_kit=maybe", code=1)
    assert said == "Error: _polled_kit: 'maybe' must be yes or no\n"
    assert status(project) == []


def test_a_project_of_plain_cookiecutter_keeps_the_answer_when_it_is_linked(
    bake: Bake, repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(bake(_polled_kit="yes").path, tmp_path / "plain")
    project = committed(tmp_path / "plain")
    script(project, "link", str(repository))
    commit(project.path, "Linked")
    publish(repository, STUB)
    script(project, "update", "--yes")
    assert answers(project)["_polled_kit"] == "yes"
    assert project.files() >= POLLED_KIT


def test_cruft_forgets_the_answer_and_leaves_the_files_and_the_tool_takes_it_again(
    project: Project, repository: Path
) -> None:
    script(project, "set", "--yes", "_polled_kit=yes")
    commit(project.path, "Kit")
    publish(repository, CORE)
    run(project.path, "cruft", "update", "--skip-apply-ask")
    commit(project.path, "Updated by cruft")
    assert answers(project)["_polled_kit"] == "no"
    assert project.files() >= POLLED_KIT
    script(project, "set", "--yes", "_polled_kit=yes")
    assert status(project) == ["M  .cruft.json"]


def without_git(names: set[str]) -> set[str]:
    return {name for name in names if not name.startswith(".git/")}
