"""What the user has on disk and git has not, where a change would write or delete: it is named, and stays."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import Project
from tests.releases import SERVICE, Release, change, publish
from tests.repository import commit, run
from tests.tool.script import CORE, everything, script, status

BROUGHT = ["mine.log", ".editor/settings.json", "hidden.txt", "place", "above/part.txt", "linked/part.txt"]
BROUGHT += ["vendored/part.txt"]
CHANGED = ["docs/architecture.md", "compose.yaml", "Dockerfile", ".github/workflows/ci.yml"]


def bring(repository: Path, *names: str) -> None:
    """A release with more files, another constant in the core, and without README.pt-BR.md."""

    def make(root: Path) -> None:
        CORE.make(root)
        for name in names:
            (root / SERVICE / name).parent.mkdir(parents=True, exist_ok=True)
            (root / SERVICE / name).write_text("The template's.\n", encoding="utf-8")
        (root / SERVICE / "README.pt-BR.md").unlink()

    publish(repository, Release("0.2.0", "more files", make))


def ignore(project: Project, *names: str) -> None:
    with (project.path / ".git/info/exclude").open("a", encoding="utf-8") as file:
        file.write("".join(f"/{name}\n" for name in names))


def write(path: Path, text: str = "mine\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_all_that_is_in_the_way_is_named_and_nothing_is_written(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    bring(repository, *BROUGHT)
    ignore(project, "mine.log", "place", "above", "linked", "vendored")
    write(project.path / "mine.log")
    write(tmp_path / "everywhere", ".editor/\n")
    run(project.path, "git", "config", "core.excludesFile", str(tmp_path / "everywhere"))
    write(project.path / ".editor/settings.json")
    run(project.path, "git", "config", "status.showUntrackedFiles", "no")
    write(project.path / "hidden.txt")
    write(project.path / "place/mine.txt")
    write(project.path / "above")
    outside = tmp_path / "outside"
    write(outside / "other.txt")
    (project.path / "linked").symlink_to(outside)
    run(project.path, "git", "init", "--quiet", "vendored")
    run(project.path, "git", "update-index", "--assume-unchanged", "app/queue/policy.py")
    change(project.path / "app/queue/policy.py", "MAX_CRASHES = 6", "MAX_CRASHES = 8")
    run(project.path, "git", "update-index", "--skip-worktree", "README.pt-BR.md")
    write(project.path / "README.pt-BR.md", "Meu.\n")
    before = everything(project.path)
    said = script(project, "update", "--yes", code=1)
    for line in (
        "mine.log: a file of yours, which the template brings too, and git ignores it",
        ".editor/settings.json: a file of yours, which the template brings too, and git ignores it",
        "hidden.txt: a file of yours, which the template brings too",
        "place: a folder, with place/mine.txt",
        "above: a file, where the template has a folder",
        "linked: a link, through which nothing is written",
        "README.pt-BR.md: changed, and git was told not to look at it",
        "app/queue/policy.py: changed, and git was told not to look at it",
        "  and vendored\n",
    ):
        assert line in said
    assert "Move it away, or commit it (git add --force FILE)" in said
    assert len(said.partition("Error: ")[2].splitlines()) < 20
    assert everything(project.path) == before
    assert [path.name for path in outside.iterdir()] == ["other.txt"]
    assert "nothing to undo" in script(project, "undo", code=1)


def test_a_handler_that_git_ignores_is_not_overwritten_by_add_queue(project: Project) -> None:
    ignore(project, "app/queue/handlers/more.py")
    write(project.path / "app/queue/handlers/more.py")
    assert "app/queue/handlers/more.py: a file of yours" in script(project, "add-queue", "--yes", "more", code=1)
    assert project.read("app/queue/handlers/more.py") == "mine\n"
    assert status(project) == []


def test_an_undo_gives_back_modes_ignored_files_and_what_git_was_told_not_to_look_at(
    project: Project, repository: Path
) -> None:
    bring(repository, "same.txt")
    ignore(project, "same.txt")
    write(project.path / "same.txt", "The template's.\n")
    (project.path / "same.txt").chmod(0o600)
    (project.path / "README.pt-BR.md").chmod(0o640)
    (project.path / "app/queue/policy.py").chmod(0o444)
    run(project.path, "git", "update-index", "--assume-unchanged", "app/queue/policy.py")
    before = everything(project.path)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    assert (project.path / "app/queue/policy.py").stat().st_mode & 0o777 == 0o444
    assert not (project.path / "README.pt-BR.md").exists()
    write(project.path / "same.txt", "written since\n")
    kept = script(project, "undo").split("git diff HEAD ")[1].split(",")[0]
    assert everything(project.path) == before
    assert run(project.path, "git", "show", f"{kept}:same.txt") == "written since\n"


def test_a_link_a_folder_or_a_submodule_that_the_user_committed_in_the_place_of_another_thing_stays(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (project.path / "docs").rename(outside)
    (project.path / "docs").symlink_to(outside)
    (project.path / "compose.yaml").rename(outside / "compose.yaml")
    (project.path / "compose.yaml").symlink_to(outside / "compose.yaml")
    (project.path / "Dockerfile").unlink()
    write(project.path / "Dockerfile/mine.txt")
    shutil.rmtree(project.path / ".github")
    run(project.path, "git", "init", "--quiet", ".github")
    write(project.path / ".github/mine.yml")
    commit(project.path / ".github", "Another repository")
    commit(project.path, "Mine")
    there = everything(project.path)

    def make(root: Path) -> None:
        CORE.make(root)
        for name in CHANGED:
            with (root / SERVICE / name).open("a", encoding="utf-8") as file:
                file.write("# more\n")
        write(root / SERVICE / "docs/new.md")

    publish(repository, Release("0.2.0", "more", make))
    before = {path.name: path.read_bytes() for path in outside.iterdir()}
    said = script(project, "update", "--yes")
    for name in (*CHANGED, "docs/new.md"):
        assert f"note      {name}: stays as you have it" in said
    assert {line[3:] for line in status(project)} == {".cruft.json", "app/queue/policy.py", "app/queue/new_part.py"}
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == before
    assert project.read("Dockerfile/mine.txt") == "mine\n"
    script(project, "undo")
    assert everything(project.path) == there
