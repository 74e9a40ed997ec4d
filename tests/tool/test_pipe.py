"""What the tool prints goes into a pipe that nobody reads, as in `queue-template status | head -0`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT, Project
from tests.repository import environment


@pytest.mark.parametrize("arguments", [["status"], ["--help"]], ids=" ".join)
def test_a_closed_pipe_costs_no_traceback(project: Project, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "queue_template", *arguments],
            cwd=project.path,
            env={**environment(), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr == ""
    assert done.returncode in (0, 1)
