"""A bot's bumps and the template's meet in every file in which bots look, and nothing conflicts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.releases import SERVICE, Release, publish
from tests.repository import commit
from tests.tool.script import script

BUMPS = {
    "pyproject.toml": [
        ("fastapi>=0.140,<1", "fastapi>=0.142,<1", "fastapi>=0.141,<1"),
        ("aio-pika>=10.2,<11", "aio-pika>=10.2,<12", "aio-pika>=10.3,<11"),
        ("pydantic>=2.12,<3", "pydantic>=2.13,<3", "pydantic>=2.14,<3"),
        ("pytest>=9.0", "pytest>=9.1", "pytest>=9.0"),
        ("ruff>=0.14", "ruff>=0.14", "ruff>=0.15"),
        ('required-version = ">=0.9"', 'required-version = ">=0.10"', 'required-version = ">=0.11"'),
    ],
    "Dockerfile": [
        ("python:3.13-slim", "python:3.14-slim", "python:3.15-slim"),
        ("uv:0.12.10", "uv:0.12.12", "uv:0.12.11"),
    ],
    "compose.yaml": [("rabbitmq:4.1-management", "rabbitmq:4.3-management", "rabbitmq:4.2-management")],
    ".github/workflows/ci.yml": [
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", f"@{'1' * 40} # v8.0.0", f"@{'2' * 40} # v7.1.0"),
        ("@c18668ad3cf93ea998bef934396af7bb5c839dc7 # v10.2.0", f"@{'3' * 40} # v10.2.1", f"@{'4' * 40} # v10.3.0"),
    ],
    ".github/workflows/template.yml": [
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", f"@{'1' * 40} # v8.0.0", f"@{'2' * 40} # v7.1.0"),
    ],
    ".devcontainer/devcontainer.json": [("python:3.13", "python:3.14", "python:3.15")],
    ".pre-commit-config.yaml": [("rev: v1.0.0", "rev: v1.2.0", "rev: v1.1.0")],
}
"""What a file has, what the bot makes of it, and what the template does."""
MERGED = {
    "pyproject.toml": [
        "fastapi>=0.142,<1", "aio-pika>=10.3,<12", "pydantic>=2.14,<3", "pytest>=9.1", "ruff>=0.15", ">=0.11",
    ],
    "Dockerfile": ["python:3.15-slim AS build", "uv:0.12.12 "],
    "compose.yaml": ["rabbitmq:4.3-management"],
    ".github/workflows/ci.yml": [f"@{'1' * 40} # v8.0.0", f"@{'4' * 40} # v10.3.0"],
    ".github/workflows/template.yml": [f"@{'1' * 40} # v8.0.0"],
    ".devcontainer/devcontainer.json": ["python:3.15"],
    ".pre-commit-config.yaml": ["rev: v1.2.0"],
}  # fmt: skip
HOOK = "  - repo: https://example.org/hooks\n    rev: v1.0.0\n    hooks:\n      - id: some\n"


def bump(folder: Path, side: int) -> None:
    for name, bumps in BUMPS.items():
        text = (folder / name).read_text(encoding="utf-8")
        for bumped in bumps:
            assert bumped[0] in text, bumped
            text = text.replace(bumped[0], bumped[side])
        (folder / name).write_text(text, encoding="utf-8")


def with_hook(root: Path) -> None:
    """The template has a hook with a version, too."""
    file = root / SERVICE / ".pre-commit-config.yaml"
    file.write_text(file.read_text(encoding="utf-8") + HOOK, encoding="utf-8")


def more(root: Path) -> None:
    """The template's bumps, and changes beside them."""
    bump(root / SERVICE, 2)
    for name, line in (("Dockerfile", "FROM python"), (".github/workflows/ci.yml", "      - uses: astral")):
        file = root / SERVICE / name
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(line, f"# New.\n{line}", 1), encoding="utf-8")
    file = root / SERVICE / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(r'(    "tenacity[^\n]*\n)', r'\1    "anyio>=4",\n', text), encoding="utf-8")


@pytest.mark.parametrize("bumped", [True, False])
def test_bumps_of_a_bot_and_of_the_template_are_merged_in_every_file(
    project: Project, repository: Path, bumped: bool
) -> None:
    publish(repository, Release("0.2.0", "a hook", with_hook))
    script(project, "update", "--yes")
    commit(project.path, "Updated")
    if bumped:
        bump(project.path, 1)
        commit(project.path, "Bumps")
    publish(repository, Release("0.3.0", "versions", more))
    said = script(project, "update", "--yes")
    assert "note" not in said
    for name, bumps in BUMPS.items():
        expected = MERGED[name] if bumped else [theirs for _, _, theirs in bumps]
        assert not [text for text in expected if text not in project.read(name)], name
        assert bumped or not [theirs for old, _, theirs in bumps if old != theirs and f"{old}\n" in project.read(name)]
    assert '"anyio>=4"' in project.read("pyproject.toml")
    assert "# New." in project.read("Dockerfile")
    assert "# New." in project.read(".github/workflows/ci.yml")
    commit(project.path, "Updated")
    assert "Up to date" in script(project, "update", "--yes")
