"""A project of plain cookiecutter is linked to its template."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Bake, Project
from tests.releases import publish
from tests.repository import commit, run
from tests.tool.script import ANSWERS, CORE, HANDLER, STUB, answers, committed, script, status


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


@pytest.fixture
def unlinked(project: Project) -> Project:
    (project.path / ".cruft.json").unlink()
    commit(project.path, "Not linked")
    return project


def template_of(project: Project) -> list[str]:
    state = json.loads(project.read(".cruft.json"))
    return [state["template"], state["context"]["cookiecutter"]["_template"]]


def check_linked(project: Project, url: str) -> None:
    assert status(project) == ["A  .cruft.json"]
    assert template_of(project) == [url, url]
    commit(project.path, "Linked")
    assert "Up to date: v0.1.0" in script(project, "status")


@pytest.mark.parametrize("url", ["../queue-template", "../../../queue-template", "~/queue-template"])
def test_a_template_in_a_folder_is_named_from_where_one_stands_and_written_down_whole(
    unlinked: Project, repository: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("HOME", str(repository.parent))
    monkeypatch.setenv("USERPROFILE", str(repository.parent))
    folder = unlinked.path / ("app/queue" if url.startswith("../..") else "")
    run(folder, sys.executable, "-m", "queue_template", "link", url, PYTHONPATH=str(ROOT))
    check_linked(unlinked, str(repository))


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("gh:org/queue-template", "https://github.com/org/queue-template.git"),
        ("gl:org/queue-template.git", "https://gitlab.com/org/queue-template.git"),
        ("bb:org/queue-template", "https://bitbucket.org/org/queue-template.git"),
    ],
)
def test_cookiecutters_short_forms_are_written_down_as_urls_which_cruft_knows(
    unlinked: Project, repository: Path, monkeypatch: pytest.MonkeyPatch, url: str, written: str
) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{repository.as_uri()}.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", written)
    script(unlinked, "link", url)
    check_linked(unlinked, written)
    run(unlinked.path, "cruft", "check")


@pytest.mark.skipif(sys.platform == "win32", reason="the server is a script of a POSIX shell")
@pytest.mark.parametrize(
    "url", ["git@example.org:org/queue-template.git", "ssh://git@example.org/org/queue-template.git"]
)
def test_a_template_is_read_by_ssh(
    unlinked: Project, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    server = tmp_path / "ssh"
    server.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{server}.log'\nexec git-upload-pack '{repository}'\n")
    server.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(server))
    script(unlinked, "link", url)
    check_linked(unlinked, url)
    asked = Path(f"{server}.log").read_text()
    assert "git@example.org" in asked
    assert "org/queue-template.git" in asked


def test_a_template_that_moved_is_found_again_by_one_command(project: Project, repository: Path) -> None:
    moved = repository.rename(repository.with_name("moved"))
    said = script(project, "update", "--yes", code=1)
    assert "If it has moved, or is a folder of another machine: the-tool link URL" in said
    assert "is now at" in script(project, "link", str(moved))
    assert status(project) == ["M  .cruft.json"]
    assert template_of(project) == [str(moved), str(moved)]
    commit(project.path, "Moved")
    publish(moved, CORE)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")


def test_a_project_is_not_moved_to_another_template(project: Project, tmp_path: Path) -> None:
    script(project, "status")  # the commit is in the mirror
    other = committed_file(tmp_path / "other")
    said = script(project, "link", str(other), code=1)
    assert "Is it another template?" in said
    assert "Leave out --at" in script(project, "link", str(tmp_path / "queue-template"), "--at", "v0.1.0", code=1)
    assert status(project) == []


def committed_file(folder: Path) -> Path:
    folder.mkdir()
    (folder / "README.md").write_text("Another one.\n")
    return committed(folder).path
