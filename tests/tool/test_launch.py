"""`python template.py` as a user calls it: uv runs the tool from the template's repository."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Project
from tests.releases import Release, change, publish
from tests.repository import commit, environment, run
from tests.tool.git_server import USER, git_server
from tests.tool.script import CORE, HANDLER, conflicting, fill_in, status

TOOL = "queue_template/change.py"
SAID = "Done and staged."


def launch(project: Project, *arguments: str, code: int = 0, typed: str = "", **variables: str) -> str:
    return run(project.path, sys.executable, "template.py", *arguments, code=code, typed=typed, **variables)


def another_tool(root: Path) -> None:
    change(root / TOOL, SAID, "Done by the next release, and staged.")


def test_the_projects_launcher_is_the_tools_own() -> None:
    project = ROOT / "{{cookiecutter.project_slug}}" / "template.py"
    assert project.read_bytes() == (ROOT / "queue_template" / "launch.py").read_bytes()


def test_a_queue_is_added_by_the_projects_version_and_an_update_is_made_by_the_version_it_goes_to(
    project: Project, repository: Path
) -> None:
    publish(repository, Release("0.2.0", "a mistake in merging is mended", another_tool))
    publish(repository, CORE_LATER)
    assert SAID in launch(project, "add-queue", "--yes", "more")
    commit(project.path, "More")
    said = launch(project, "update", "--to", "v0.2.0", typed="y\n")
    commit_of_release = run(repository, "git", "rev-parse", "v0.2.0").strip()
    assert f"queue-template of v0.2.0 ({commit_of_release[:10]}) does this update." in said
    assert "Done by the next release, and staged." in said
    assert "template.py undo" in said
    launch(project, "undo")
    assert status(project) == []
    launch(project, "update", "--yes")
    commit(project.path, "Updated")
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    # To a release that has no tool of its own, this one goes.
    old = run(repository, "git", "rev-parse", "v0.1.0").strip()
    run(repository, "git", "switch", "--quiet", "--create", "older", old)
    run(repository, "git", "rm", "--quiet", "-r", "queue_template")
    commit(repository, "Without a tool")
    said = launch(project, "update", "--yes", "--to", "older")
    assert "does this update" not in said
    assert "Done by the next release, and staged." in said


CORE_LATER = Release("0.3.0", CORE.title, CORE.make)


def test_exit_codes_come_through(project: Project, repository: Path) -> None:
    assert "No such command" in launch(project, "no-such", code=2)
    assert "add-queue" in launch(project, "--help")
    conflicting(project, repository)
    assert "With --yes it is done (make: YES=1)" in launch(project, "update", code=1)
    launch(project, "status", "--exit-code", code=3)
    launch(project, "update", "--yes", code=3)
    launch(project, "undo")


def test_what_was_here_once_needs_nobody(project: Project, repository: Path) -> None:
    launch(project, "add-queue", "--yes", "more")
    commit(project.path, "More")
    repository.rename(repository.with_name("gone"))
    launch(project, "add-queue", "--yes", "and_more", UV_OFFLINE="1")
    commit(project.path, "And more")
    said = launch(project, "update", "--yes", code=1)
    assert said.startswith("Error: The template can't be read")
    assert len(said.splitlines()) == 1


def test_a_private_template_is_read_with_the_token_of_its_address_which_is_shown_nowhere(
    project: Project, repository: Path
) -> None:
    with git_server(repository.parent) as server:
        change(project.path / ".cruft.json", str(repository), f"http://{USER}@{server}/queue-template")
        commit(project.path, "Private")
        said = launch(project, "add-queue", "--yes", "more")
        commit(project.path, "More")
        publish(repository, CORE)
        said += launch(project, "update", "--yes")
    assert "does this update" in said
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    assert "ecret" not in said
    assert "ecret" not in (project.path / ".git/queue-template.git/config").read_text(encoding="utf-8")


def test_ctrl_c_while_it_asks_changes_nothing(project: Project) -> None:
    pty = pytest.importorskip("pty", reason="a terminal is needed to press a key in, and Windows has none")
    if shutil.which("setsid") is None:
        pytest.skip("setsid of util-linux is needed, to give the programs a terminal of their own")
    user, terminal = pty.openpty()
    # A session of its own, whose terminal this is: so the key reaches every program in it.
    command = ["setsid", "--ctty", "--wait", sys.executable, "template.py", "add-queue", "more"]
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(command, cwd=project.path, env=environment(), **streams) as started:
        os.close(terminal)
        said = b""
        while b"Do this?" not in said:
            assert select.select([user], [], [], 60)[0], said
            said += os.read(user, 1024)
        # Pressed again, as a person does: a signal that comes between the question and the wait for its answer is only
        # seen once the wait ends (a property of Python's input()).
        for _ in range(60):
            os.write(user, b"\x03")
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.wait(1)
                break
        else:
            started.kill()
        assert started.returncode == 1
    os.close(user)
    assert status(project) == []


def test_what_is_lacking_is_said_in_one_line(project: Project, repository: Path, tmp_path: Path) -> None:
    repository.rename(repository.with_name("gone"))
    said = launch(project, "add-queue", "--yes", "more", code=1, UV_CACHE_DIR=str(tmp_path / "cache"))
    fetching, error = said.splitlines()
    assert fetching.startswith("Fetching queue-template at ")
    assert error.startswith("Error: uv has no queue-template at ")
    assert f"in its cache, and can't fetch it from {repository.as_uri()}: fatal: " in error
    # One of git's two programs says the one, the other the other, and the first may be cut off.
    assert "does not appear to be a git repository" in error or "Could not read from remote repository" in error
    assert error.endswith("template.py link URL")
    assert status(project) == []


def test_it_works_from_another_folder_and_with_an_environment_of_somebody_elses(
    project: Project, tmp_path: Path
) -> None:
    fill_in(project)
    commit(project.path, "Work")
    (tmp_path / "typer.py").write_text("raise SystemExit('not mine')", encoding="utf-8")
    command = (sys.executable, str(project.path / "template.py"), "add-type", "--yes", "orders", "order.paid")
    run(tmp_path, *command, VIRTUAL_ENV=str(tmp_path / "nowhere"), UV_PROJECT_ENVIRONMENT=str(tmp_path / "env"))
    assert "order.paid" in project.read(HANDLER)


@pytest.mark.skipif(sys.platform == "win32", reason="a link to a program needs a right there")
def test_without_uv_it_says_where_to_get_it(project: Project, tmp_path: Path) -> None:
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    said = launch(project, "add-queue", "--yes", "more", code=1, PATH=str(tmp_path / "bin"), UV="")
    assert said.startswith("Error: uv is needed: https://docs.astral.sh/uv/")
    assert len(said.splitlines()) == 1
    assert status(project) == []


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_cruft_json_that_can_not_be_read_is_said_in_one_line(project: Project, content: str) -> None:
    (project.path / ".cruft.json").write_text(content, encoding="utf-8")
    said = launch(project, "add-queue", "--yes", "more", code=1)
    assert said.startswith("Error: .cruft.json can't be read")
    assert len(said.splitlines()) == 1


def test_a_project_of_plain_cookiecutter_is_told_to_link_and_is_linked(project: Project, repository: Path) -> None:
    run(project.path, "git", "rm", "--quiet", ".cruft.json")
    commit(project.path, "As cookiecutter makes it")
    said = launch(project, "update", code=1)
    assert said.startswith("Error: There is no .cruft.json. Link the project to its template, once: ")
    assert len(said.splitlines()) == 1
    run(project.path.parent, sys.executable, f"{project.path.name}/template.py", "link", repository.name)
    assert status(project) == ["A  .cruft.json"]
    assert str(repository) in project.read(".cruft.json")
    commit(project.path, "Linked")
    # Now it moves, and nothing of it is on this machine.
    moved = repository.rename(repository.with_name("moved"))
    launch(project, "link", str(moved), UV_CACHE_DIR=str(project.path.parent / "cache"))
    assert status(project) == ["M  .cruft.json"]
    assert str(moved) in project.read(".cruft.json")


def test_a_zip_is_nothing_to_keep_up_with(project: Project) -> None:
    (said,) = launch(project, "link", "queue-template.zip", code=1).splitlines()
    assert said.startswith("Error: A zip has no later releases.")


def test_the_scheduled_job_fails_when_a_release_is_out_and_its_summary_says_what_has_changed(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    workflow = yaml.safe_load(project.read(".github/workflows/template.yml"))
    job = workflow["jobs"]["status"]
    assert job["permissions"] == {"contents": "read"}
    summary = tmp_path / "summary"
    command = f"export GITHUB_STEP_SUMMARY='{summary}'; {job['steps'][-1]['run']}"
    run(project.path, "bash", "-eo", "pipefail", "-c", command)
    publish(repository, CORE)
    run(project.path, "bash", "-eo", "pipefail", "-c", command, code=3)
    assert "v0.2.0 is out" in summary.read_text(encoding="utf-8")
    assert "- core code" in summary.read_text(encoding="utf-8")
