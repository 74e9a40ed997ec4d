"""A fresh project with the lowest versions that its pyproject.toml allows. The other tests run with the newest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import CORE_TESTS, QUICK, TOOLS, Project


def test_the_default_project_is_clean_and_passes_its_tests_with_the_lowest_versions(
    default_project: Project, tmp_path: Path
) -> None:
    uv = str(TOOLS / "uv")
    python = str(tmp_path / "venv/bin/python")
    requirements = ["-r", "pyproject.toml", "--group", "pyproject.toml:dev", "-r", str(CORE_TESTS / "requirements.txt")]
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")],
        [uv, "pip", "install", "--quiet", "--python", python, "--resolution", "lowest-direct", *requirements],
        [python, "-m", "ruff", "check", "--no-cache", "."],
        [python, "-m", "ruff", "format", "--no-cache", "--check", "."],
        [python, "-m", "mypy", "--cache-dir", os.devnull],
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
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
    default_project.run_core_tests(*QUICK, str(CORE_TESTS), python=python)
