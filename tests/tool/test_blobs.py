"""What git has of a file is read as it is, whatever the file's name, and in words where it is out of reach."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.conftest import Project
from tests.releases import publish
from tests.repository import commit, run
from tests.tool.script import CORE, HANDLER, everything, script, status


def test_a_line_feed_in_a_files_name_puts_no_file_in_the_place_of_another(project: Project) -> None:
    (project.path / "app/first\nsecond.py").write_text("ODD = 1\n", encoding="utf-8")
    commit(project.path, "An odd name")
    before = {path: path.read_bytes() for path in (project.path / "app").rglob("*.py")}
    script(project, "add-type", "--yes", "orders", "order.paid")
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    assert changed == [project.path / HANDLER]
    assert "async def order_paid" in project.read(HANDLER)
    assert sorted(status(project)) == [f"M  {HANDLER}", "M  tests/handlers/test_orders.py"]


def test_a_partial_clone_whose_remote_is_gone_is_told_so_in_one_line(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    run(project.path, "git", "config", "uploadpack.allowFilter", "true")
    run(tmp_path, "git", "clone", "--quiet", "--filter=blob:none", "--no-checkout", project.path.as_uri(), "clone")
    clone = Project(tmp_path / "clone")
    run(clone.path, "git", "config", "core.sparseCheckout", "true")
    (clone.path / ".git/info/sparse-checkout").write_text("/*\n!/app/queue/policy.py\n", encoding="utf-8")
    run(clone.path, "git", "read-tree", "-m", "-u", "HEAD")
    publish(repository, CORE)
    shutil.rmtree(project.path)
    before = everything(clone.path)
    said = script(clone, "update", "--yes", code=1).partition("Error: ")[2]
    assert "This clone lacks files of its last commit, and can't fetch them" in said
    assert said.count("\n") == 1
    assert everything(clone.path) == before
