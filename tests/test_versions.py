"""A fresh project with the lowest versions that its pyproject.toml allows. The other tests run with the newest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import QUICK, TOOLS, Project


def test_the_default_project_is_clean_and_passes_its_tests_with_the_lowest_versions(
    default_project: Project, tmp_path: Path
) -> None:
    uv = str(TOOLS / "uv")
    python = str(tmp_path / "venv/bin/python")
    requirements = ["-r", "pyproject.toml", "--group", "pyproject.toml:dev"]
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")],
        [uv, "pip", "install", "--quiet", "--python", python, "--resolution", "lowest-direct", *requirements],
        [python, "-m", "ruff", "check", "--no-cache", "."],
        [python, "-m", "ruff", "format", "--no-cache", "--check", "."],
        [python, "-m", "mypy", "--cache-dir", os.devnull],
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *QUICK],
    ):
        done = subprocess.run(
            command,
            cwd=default_project.path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}"
