"""What the template has learned, taken in: real git, real cruft, real releases, in temporary folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Bake, Project
from tests.releases import RELEASES, Release, change, publish
from tests.repository import commit, run
from tests.tool.script import CORE, HANDLER, STUB, committed, fill_in, script, status


def test_it_says_whether_the_project_is_behind_and_by_what(project: Project, repository: Path) -> None:
    assert "Up to date: v0.1.0" in script(project, "status", "--exit-code")
    publish(repository, CORE)
    publish(repository, STUB)
    said = script(project, "status", "--exit-code", code=3)
    assert "at v0.1.0, and v0.3.0 is out" in said
    assert said.index("a stub's shape") < said.index("core code")
    assert status(project) == []
    assert "v0.3.0 is out" in script(project, "status")


def test_commits_after_the_latest_release_are_not_a_release(project: Project, repository: Path) -> None:
    change(repository / "README.md", "# queue-template", "# A queue template")
    commit(repository, "Not released")
    assert "Up to date" in script(project, "status", "--exit-code")
    assert "Up to date" in script(project, "update", "--yes")
    script(project, "update", "--yes", "--to", "main")
    commit(project.path, "Ahead")
    assert "Up to date: v0.1.0-1-g" in script(project, "update", "--yes")


def test_text_of_breaking_changes_is_shown_before_an_update_across_them(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    publish(repository, Release("1.0.0", "more", lambda _: None, breaking="Rename `a` to `b` in queues.yaml."))
    said = script(project, "update", code=1)
    assert "BREAKING in 1.0.0, to be done by hand:\n\n- Rename `a` to `b` in queues.yaml." in said
    script(project, "update", "--yes", "--to", "v1.0.0")
    commit(project.path, "Updated")
    assert "BREAKING" not in script(project, "update", "--yes")


def test_only_what_a_command_would_write_has_to_be_committed(project: Project) -> None:
    fill_in(project)
    (project.path / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    change(project.path / "README.md", "[Português]", "[Em português]")
    run(project.path, "git", "add", "README.md")
    work = status(project)
    said = script(project, "add-type", "--yes", "orders", "order.paid", code=1)
    assert f"Not committed, and in the way of this: {HANDLER}. Commit it or stash it first" in said
    assert status(project) == work
    said = script(project, "add-queue", "--yes", "more", code=0)
    command = "git commit -m 'Add queue more' -- app/queue/handlers/more.py queues.yaml tests/handlers/test_more.py\n"
    assert command in said
    script(project, "undo")
    assert status(project) == work
    script(project, "add-queue", "--yes", "more")
    run(project.path, "sh", "-c", command)
    assert status(project) == work
    assert "Not committed, and in the way of this: README.md." in script(project, "set", "project_name=B", code=1)
    change(project.path / "queues.yaml", "max_attempts: 5", "max_attempts: 6")
    said = script(project, "add-queue", "--yes", "third", code=1)
    assert "Not committed, and in the way of this: queues.yaml. Commit it or stash" in said
    assert "git stash push -u -- queues.yaml)" in said


def test_a_fresh_clone_after_a_squash_merge_takes_a_second_update(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    fill_in(project)
    commit(project.path, "Work")
    run(project.path, "git", "switch", "--quiet", "--create", "update")
    publish(repository, CORE)
    script(project, "update", "--yes")
    commit(project.path, "Update")
    run(project.path, "git", "switch", "--quiet", "main")
    run(project.path, "git", "merge", "--quiet", "--squash", "update")
    commit(project.path, "Squashed")
    # Only what is reachable, so the blobs of the first renders are not there.
    run(tmp_path, "git", "clone", "--quiet", "--no-local", "--depth", "1", project.path.as_uri(), "clone")
    clone = Project(tmp_path / "clone")
    publish(repository, STUB)
    script(clone, "update", "--yes")
    assert "the message is finished" in clone.read(HANDLER)
    assert 'logger.debug("mine")' in clone.read(HANDLER)


def test_a_project_in_a_folder_of_a_larger_repository_is_updated_there(repository: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    run(whole, "cruft", "create", "--no-input", str(repository))
    (whole / "other.txt").write_text("other", encoding="utf-8")
    committed(whole)
    project = Project(whole / "queue-service")
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    assert "A  queue-service/app/queue/new_part.py" in status(project)
    assert (whole / "other.txt").read_text(encoding="utf-8") == "other"


def test_a_file_the_user_renamed_or_deleted_stays_renamed_or_deleted(project: Project, repository: Path) -> None:
    run(project.path, "git", "mv", HANDLER, "app/queue/handlers/purchases.py")
    run(project.path, "git", "rm", "--quiet", "tests/handlers/test_user_channel.py")
    commit(project.path, "Work")
    publish(repository, STUB)
    said = script(project, "update", "--yes")
    assert "tests/handlers/test_user_channel.py: stays deleted" in said
    assert not (project.path / "tests/handlers/test_user_channel.py").exists()
    assert "the message is finished" in project.read("app/queue/handlers/purchases.py")


def test_a_file_that_the_user_edited_and_the_template_removes_is_kept(project: Project, repository: Path) -> None:
    with (project.path / "README.pt-BR.md").open("a", encoding="utf-8") as file:
        file.write("Meu.\n")
    commit(project.path, "Work")
    publish(repository, next(release for release in RELEASES if release.title == "a removed file"))
    assert "README.pt-BR.md: stays as you have it" in script(project, "update", "--yes")
    assert project.read("README.pt-BR.md").endswith("Meu.\n")


def test_what_cruft_is_told_to_skip_is_left_alone(project: Project, repository: Path) -> None:
    with (project.path / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('\n[tool.cruft]\nskip = ["app/queue/policy.py"]\n')
    commit(project.path, "Work")
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 6" in project.read("app/queue/policy.py")
    assert (project.path / "app/queue/new_part.py").exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_cruft_json_that_can_not_be_read_is_said_in_one_line(project: Project, content: str) -> None:
    (project.path / ".cruft.json").write_text(content, encoding="utf-8")
    commit(project.path, "Broken")
    said = script(project, "add-queue", "--yes", "invoices", code=1)
    assert said.startswith("Error: .cruft.json can't be read")
    assert said.count("\n") == 1


def test_a_template_that_can_not_be_read_is_said_in_one_line_without_its_token(project: Project) -> None:
    change(
        project.path / ".cruft.json", json.loads(project.read(".cruft.json"))["template"], "http://me:secret@[::1]:9/x"
    )
    commit(project.path, "Moved")
    said = script(project, "status", code=1)
    assert said.startswith("Error: The template can't be read: http://[::1]:9/x")
    assert "secret" not in said
    assert len(said.splitlines()) == 1


def test_a_folder_in_no_repository_is_told_what_to_do(bake: Bake, tmp_path: Path) -> None:
    shutil.copytree(bake().path, tmp_path / "plain")
    said = script(Project(tmp_path / "plain"), "update", "--yes", code=1)
    assert said.startswith("Error: This needs a git repository with a commit")
