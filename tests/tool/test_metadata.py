"""What the tool says of itself, and needs."""

from __future__ import annotations

import json
import tomllib
import zipfile
from pathlib import Path

from queue_template.releases import parse
from tests.conftest import ROOT
from tests.repository import run


def test_the_version_is_the_same_wherever_it_is_named(template: Path) -> None:
    version = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__version"]
    assert tomllib.loads((template / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == version
    released = parse((template / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert not released or released[0].version == version


def test_all_that_the_tool_needs_is_named_exactly_since_uvx_reads_no_lock() -> None:
    options = ("--no-dev", "--no-emit-project", "--no-hashes", "--no-annotate", "--no-header", "--quiet", "--locked")
    locked = run(ROOT, "uv", "export", *options).splitlines()
    named = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert sorted(named) == sorted(locked)


def test_the_tool_is_packed_with_the_tests_of_the_core_and_without_the_template(template: Path, tmp_path: Path) -> None:
    run(template, "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    folders = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert folders == {"core_tests", "queue_template", "queue_template-0.1.0.dist-info"}
