"""Files of the project that are not what they should be cost one line, or nothing, and never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from queue_template import commands
from queue_template.cli import main
from queue_template.git import TemplateError
from queue_template.project import find_project
from tests.conftest import ANSWERS_FILE, Project
from tests.repository import commit, run
from tests.tool.script import script, status

HANDLERS = "app/queue/handlers"


def ignore(project: Project, *names: str) -> None:
    with (project.path / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write("".join(f"/{name}\n" for name in names))


def test_what_is_no_file_among_the_handlers_is_no_handler(project: Project) -> None:
    ignore(project, f"{HANDLERS}/.#orders.py", f"{HANDLERS}/old.py", f"{HANDLERS}/pipe.py")
    (project.path / HANDLERS / ".#orders.py").symlink_to("somebody@somewhere.1234")
    (project.path / HANDLERS / "old.py").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(project.path / HANDLERS / "pipe.py")
    script(project, "add-queue", "--yes", "more")
    assert f"A  {HANDLERS}/more.py" in status(project)


@pytest.mark.parametrize("value", ["2024-02-30", "[" * 1500, "1e999:5"])
def test_an_entry_that_yaml_can_not_read_is_left_to_the_user(project: Project, value: str) -> None:
    with (project.path / "queues.yaml").open("a", encoding="utf-8") as file:
        file.write(f"    reviewed: {value}\n")
    commit(project.path, "Reviewed")
    said = script(project, "add-queue", "--yes", "more", code=0 if value[0] == "1" else 3)
    assert "Traceback" not in said


def test_a_link_file_of_another_shape_is_named_in_one_line(project: Project) -> None:
    whole = json.loads(project.read(".cruft.json"))
    answers = whole["context"]["cookiecutter"]
    for change, why in (
        ({"template": None}, "template must be text"),
        ({"commit": 5}, "commit must be text"),
        ({"checkout": ["v1"]}, "checkout must be text"),
        ({"directory": 5}, "directory must be text"),
        ({"context": []}, "context must be an object"),
        ({"context": {"cookiecutter": []}}, "cookiecutter must be an object"),
        ({"context": {"cookiecutter": {}}}, "'queues' is missing"),
        ({"context": {"cookiecutter": answers | {"queues": ["orders"]}}}, "queues must be text"),
    ):
        (project.path / ".cruft.json").write_text(json.dumps(whole | change), encoding="utf-8")
        with pytest.raises(TemplateError) as found:
            find_project(project.path).state()
        assert str(found.value).startswith(f".cruft.json can't be read ({why}); git has it as it was: git checkout ")


@pytest.mark.parametrize("plan", ["{}", "[", 5])
def test_a_plan_that_can_not_be_read_is_written_anew(project: Project, plan: object) -> None:
    state = json.loads(project.read(".cruft.json"))
    state["context"]["cookiecutter"]["__plan"] = plan
    (project.path / ".cruft.json").write_text(json.dumps(state), encoding="utf-8")
    commit(project.path, "Another plan")
    script(project, "add-queue", "--yes", "more")
    assert "M  .cruft.json" in status(project)


def test_a_link_file_that_is_no_object_or_that_lacks_an_answer_is_named_too(project: Project) -> None:
    (project.path / ".cruft.json").write_text("[]", encoding="utf-8")
    commit(project.path, "A list")
    assert script(project, "update", code=1).startswith("Error: .cruft.json can't be read (it must be an object)")
    run(project.path, "git", "revert", "--no-edit", "HEAD")
    script(project, "link", "--copier")
    file = project.path / ANSWERS_FILE
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("queues:")), encoding="utf-8")
    commit(project.path, "No queues")
    for command in ("update", "status"):
        said = script(project, command, code=1)
    assert said.startswith(f"Error: {ANSWERS_FILE} can't be read ('queues' is missing)")


def test_nothing_is_written_through_a_link(project: Project, repository: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    ignore(project, ANSWERS_FILE)
    (project.path / ANSWERS_FILE).symlink_to(outside)
    assert f"{ANSWERS_FILE} is in the way" in script(project, "link", "--copier", code=1)
    assert not outside.exists()
    (project.path / ANSWERS_FILE).unlink()
    content = project.read(".cruft.json")
    (project.path / ".cruft.json").unlink()
    (project.path / ".cruft.json").symlink_to(outside)
    commit(project.path, "A link")
    for arguments in ([str(repository)], [str(repository), "--copier"]):
        assert ".cruft.json is in the way" in script(project, "link", *arguments, code=1)
    assert not outside.exists()
    outside.write_text(content, encoding="utf-8")
    for command in (["link", str(repository)], ["update", "--yes"]):
        assert ".cruft.json is a link, and nothing is written through one" in script(project, *command, code=1)
    assert outside.read_text(encoding="utf-8") == content


def test_an_expression_of_many_terms_is_read(project: Project) -> None:
    with (project.path / "app/main.py").open("a", encoding="utf-8") as file:
        file.write(f"\nMANY = {' + '.join(['1'] * 1500)}\n")
    commit(project.path, "Many")
    script(project, "set", "--yes", "project_name=Other Name")
    assert "M  app/main.py" in status(project)


def test_what_the_system_refuses_is_said_in_one_line(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "queues.yaml")

    monkeypatch.setattr(commands, "status", refused)
    monkeypatch.chdir(project.path)
    assert main(["status"]) == 1
    assert capsys.readouterr().err == "Error: [Errno 13] Permission denied: 'queues.yaml'\n"
