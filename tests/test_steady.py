"""What is run again, and what then counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FAILS_ONCE = """
def test_it():
    from pathlib import Path
    file = Path(__file__).with_name("times")
    with file.open("a") as times:
        times.write(".")
    assert file.stat().st_size > 1
"""
FAILS_TWICE = FAILS_ONCE.replace("> 1", "not in (1, 3)")
FAIL = "\n".join(f"def test_{number}():\n    assert {number} == -1\n" for number in range(3))


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("def test_it(): pass", 0, "1 passed"),
        (FAILS_ONCE, 0, "UNSTEADY, failed beside others and passed 3 times alone"),
        (FAILS_TWICE, 1, "1 failed"),
        (FAIL, 1, "3 failed"),
        ("import nothing_of_this_name", 2, "1 error"),
    ],
    ids=["passes", "fails once", "fails again", "many fail", "an error"],
)
def test_a_failure_counts_unless_it_is_one_of_a_few_and_does_not_come_again(
    tmp_path: Path, source: str, code: int, said: str
) -> None:
    (tmp_path / "test_some.py").write_text(source, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "scripts.steady", "-q", "test_some.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stdout
    assert ("UNSTEADY" in done.stdout) == (source == FAILS_ONCE)
    assert not list(tmp_path.glob(".pytest_cache"))
