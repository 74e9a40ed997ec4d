"""What the user has the template leave out, and patterns that would reach further than the render."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from queue_template.git import TemplateError
from queue_template.project import Project as Found
from queue_template.skip import patterns_of
from tests.conftest import Project
from tests.releases import publish
from tests.repository import commit, run
from tests.tool.script import CORE, script, status

POLICY = "app/queue/policy.py"


def skip(project: Project, value: str) -> None:
    with (project.path / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[tool.cruft]\nskip = {value}\n")
    commit(project.path, "Left out")


def test_a_pattern_that_is_none_is_refused_and_nothing_outside_is_deleted(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "note.txt").write_text("Mine.\n", encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(scratch))
    skip(project, '["docs/../../../../note.txt", "../*"]')
    said = script(project, "add-queue", "--yes", "more", code=1)
    assert said.startswith("Error: pyproject.toml: skip in [tool.cruft] must be a list of patterns that stay in the ")
    assert said.endswith("not 'docs/../../../../note.txt'\n")
    assert [path.name for path in scratch.iterdir()] == ["note.txt"]
    assert status(project) == []


@pytest.mark.parametrize(
    "value", [True, None, "docs", {}, [1], [""], ["."], ["/abs"], [".."], ["docs", "a/../../b"], ["a\0b"]]
)
def test_what_is_no_list_of_patterns_is_refused_wherever_it_is(tmp_path: Path, value: object) -> None:
    with pytest.raises(TemplateError, match=r"^\.cruft\.json: skip must be a list of patterns"):
        patterns_of(Found(tmp_path, tmp_path, ""), {"skip": value})


def test_a_folder_and_what_is_in_it_may_both_match(project: Project, repository: Path) -> None:
    skip(project, '["app/**/*", "docs", "docs/*"]')
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert status(project) == ["M  .cruft.json"]


def test_a_pyproject_that_can_not_be_read_is_named_and_nothing_is_brought(project: Project) -> None:
    file = project.path / "pyproject.toml"
    for content, why in ((b"[project\n", "it is no TOML ("), (b'name = "\xe9"\n', "it is no UTF-8")):
        file.write_bytes(content)
        commit(project.path, "Broken")
        said = script(project, "add-queue", "--yes", "more", code=1)
        assert said.startswith(f"Error: pyproject.toml can't be read, and may say what is to be left out: {why}")
        assert said.count("\n") == 1
    assert status(project) == []


def test_what_crufts_file_leaves_out_is_not_forgotten_by_a_link_for_copier(project: Project) -> None:
    state = json.loads(project.read(".cruft.json"))
    (project.path / ".cruft.json").write_text(json.dumps(state | {"skip": [POLICY]}), encoding="utf-8")
    commit(project.path, "Left out")
    said = script(project, "link", "--copier", code=1)
    assert "can't say what is left out. Move 'skip' from .cruft.json to pyproject.toml: [tool.cruft]" in said
    assert f'skip = ["{POLICY}"]' in said
    assert status(project) == []
    (project.path / ".cruft.json").write_text(json.dumps(state), encoding="utf-8")
    skip(project, f'["{POLICY}"]')
    script(project, "link", "--copier")
    run(project.path, "git", "diff", "--exit-code")
