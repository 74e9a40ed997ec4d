"""The template's own workflow is one that GitHub can run, and names tests that are there."""

from __future__ import annotations

import re

from tests.conftest import ROOT, Project

WORKFLOW = ".github/workflows/ci.yml"


def test_the_workflow_is_valid_and_safe() -> None:
    template = Project(ROOT)
    template.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW)
    template.run("zizmor", "--offline", "--quiet", WORKFLOW)


def test_every_test_that_the_workflow_names_is_there() -> None:
    named = re.findall(r"\btests/[a-z_/]+\.py", (ROOT / WORKFLOW).read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
