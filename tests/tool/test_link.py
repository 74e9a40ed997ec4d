"""A project of plain cookiecutter is linked to its template."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Bake, Project
from tests.releases import publish
from tests.repository import commit
from tests.tool.script import ANSWERS, HANDLER, STUB, answers, committed, script, status


@pytest.mark.parametrize("url", ["/nowhere", "nonsense"])
def test_a_link_to_what_is_no_template_is_said_in_words(bake: Bake, url: str) -> None:
    plain = committed(bake(project_slug=f"linked-{len(url)}").path)
    said = script(plain, "link", url, code=1)
    assert "The template can't be read" in said
    assert ".cruft.json" not in said  # there is none
    assert status(plain) == []


def test_a_project_of_plain_cookiecutter_is_linked_with_its_own_answers(
    bake: Bake, repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(bake(**ANSWERS, description="A {{ strange }} one").path, tmp_path / "plain")
    project = committed(tmp_path / "plain")
    assert "the-tool link URL" in script(project, "update", "--yes", code=1)
    publish(repository, STUB)
    script(project, "link", str(repository))
    assert status(project) == ["A  .cruft.json"]
    commit(project.path, "Linked")
    assert answers(project)["description"] == "A {{ strange }} one"
    script(project, "update", "--yes")
    assert "the message is finished" in project.read(HANDLER)


def test_a_url_with_a_token_is_refused_and_never_shown(project: Project) -> None:
    (project.path / ".cruft.json").unlink()
    commit(project.path, "Not linked")
    said = script(project, "link", "https://me:secret@localhost:9/x.git", code=1)
    assert "Leave user and token out of the URL" in said
