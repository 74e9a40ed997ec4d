"""Files of the template's that git ignores: what is on disk counts, and is changed there alone."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.releases import SERVICE, Release, change, publish
from tests.repository import commit, run
from tests.tool.script import CORE, everything, script, status

FIRST, SECOND, GONE = "docs/architecture.md", "docs/messages.md", "docs/monitoring.md"


@pytest.fixture
def ignoring(project: Project) -> Project:
    """A project of which git ignores a folder, as another project's rule in the same repository may have it."""
    with (project.path / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("docs/\n")
    run(project.path, "git", "rm", "--quiet", "-r", "--cached", "docs")
    commit(project.path, "Without docs")
    return project


def test_a_new_folder_of_the_template_is_in_git_whatever_is_ignored(project: Project, repository: Path) -> None:
    with (project.path / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write("parts/\n")
    (repository / SERVICE / "app/parts").mkdir()
    (repository / SERVICE / "app/parts/__init__.py").write_text("", encoding="utf-8")
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert "A  app/parts/__init__.py" in status(project)


def bring(repository: Path) -> None:
    def make(root: Path) -> None:
        CORE.make(root)
        for name in (FIRST, SECOND):
            file = root / SERVICE / name
            file.write_text(f"The template's new line.\n\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
        (root / SERVICE / GONE).unlink()
        (root / SERVICE / "docs/new.md").write_text("New.\n", encoding="utf-8")

    publish(repository, Release("0.2.0", "docs", make))


def test_what_git_ignores_is_updated_on_disk_alone_and_taken_back(ignoring: Project, repository: Path) -> None:
    with (ignoring.path / FIRST).open("a", encoding="utf-8") as file:
        file.write("Mine.\n")
    (ignoring.path / FIRST).chmod(0o600)
    before = everything(ignoring.path)
    bring(repository)
    said = script(ignoring, "update", "--yes")
    assert "stays deleted" not in said
    for name in (FIRST, SECOND, GONE, "docs/new.md"):
        assert f"note      {name}: git ignores it, or has none of it: it is changed on disk alone" in said
    text = ignoring.read(FIRST)
    assert text.startswith("The template's new line.\n")
    assert text.endswith("Mine.\n")
    assert ignoring.read("docs/new.md") == "New.\n"
    assert not (ignoring.path / GONE).exists()
    assert sorted(status(ignoring)) == ["A  app/queue/new_part.py", "M  .cruft.json", "M  app/queue/policy.py"]
    script(ignoring, "undo")
    assert everything(ignoring.path) == before
    change(ignoring.path / "README.md", "[Português]", "[Em português]")
    run(ignoring.path, "git", "add", "README.md")
    said = script(ignoring, "update", "--yes")
    run(ignoring.path, *shlex.split(said.partition("then: ")[2].splitlines()[0]))
    assert status(ignoring) == ["M  README.md"]
    assert run(ignoring.path, "git", "ls-files", "docs") == ""


def test_what_git_ignores_and_both_changed_stays_as_the_user_has_it(ignoring: Project, repository: Path) -> None:
    first = ignoring.read(FIRST).splitlines(keepends=True)[0]
    change(ignoring.path / FIRST, first, f"Mine: {first}")
    change(ignoring.path / GONE, ignoring.read(GONE).splitlines()[0], "Mine")
    mine = {name: ignoring.read(name) for name in (FIRST, GONE)}
    bring(repository)
    said = script(ignoring, "update", "--yes")
    assert f"note      {FIRST}: stays as you have it; the template has another one" in said
    assert f"note      {GONE}: stays as you have it; the template deletes it" in said
    for name, text in mine.items():
        assert ignoring.read(name) == text


def test_an_edit_of_what_git_ignores_is_kept_when_the_update_is_taken_back(ignoring: Project, repository: Path) -> None:
    before = everything(ignoring.path)
    bring(repository)
    script(ignoring, "update", "--yes")
    (ignoring.path / FIRST).write_text("Written after it.\n", encoding="utf-8")
    said = script(ignoring, "undo")
    assert everything(ignoring.path) == before
    assert f"You had changed {FIRST} since" in said
    kept = said.partition("is kept in ")[2].partition(":")[0]
    assert run(ignoring.path, "git", "show", f"{kept}:{FIRST}") == "Written after it.\n"
    assert "git checkout HEAD" not in said


def test_what_git_ignores_is_taken_back_with_the_rest_and_never_alone(ignoring: Project, repository: Path) -> None:
    before = everything(ignoring.path)
    bring(repository)
    script(ignoring, "update", "--yes")
    run(ignoring.path, "git", "stash")
    updated = {name: ignoring.read(name) for name in (FIRST, SECOND)}
    assert "stash pop" in script(ignoring, "undo", code=1)
    run(ignoring.path, "git", "stash", "pop", "--index")
    assert {name: ignoring.read(name) for name in (FIRST, SECOND)} == updated
    script(ignoring, "undo")
    assert everything(ignoring.path) == before
    script(ignoring, "update", "--yes")
    commit(ignoring.path, "Update")
    assert "is committed, so there is nothing to undo" in script(ignoring, "undo", code=1)
    assert {name: ignoring.read(name) for name in (FIRST, SECOND)} == updated


def test_what_git_ignores_is_converted_by_no_setting_of_git(ignoring: Project, repository: Path) -> None:
    run(ignoring.path, "git", "config", "core.autocrlf", "true")
    with (ignoring.path / ".git/info/attributes").open("a", encoding="utf-8") as file:
        file.write("docs/* filter=broken\n")
    run(ignoring.path, "git", "config", "filter.broken.smudge", "false")
    run(ignoring.path, "git", "config", "filter.broken.required", "true")
    bring(repository)
    script(ignoring, "update", "--yes")
    assert (ignoring.path / FIRST).read_bytes().startswith(b"The template's new line.\n\n")
    assert b"\r" not in (ignoring.path / FIRST).read_bytes()


def test_what_is_ignored_and_not_on_disk_is_deleted_and_stays_so(ignoring: Project, repository: Path) -> None:
    (ignoring.path / FIRST).unlink()
    bring(repository)
    assert f"note      {FIRST}: stays deleted" in script(ignoring, "update", "--yes")
    assert not (ignoring.path / FIRST).exists()


def test_nothing_ignored_is_changed_behind_a_link(ignoring: Project, repository: Path, tmp_path: Path) -> None:
    (ignoring.path / "docs").rename(tmp_path / "elsewhere")
    with (ignoring.path / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write("/docs\n")
    (ignoring.path / "docs").symlink_to(tmp_path / "elsewhere")
    before = {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()}
    bring(repository)
    assert "docs: a link, through which nothing is written" in script(ignoring, "update", "--yes", code=1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()} == before
