"""`python -m core_tests.simulator`: finds the core, then does what `command.py` says."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
if find_spec("app") is None:  # in the template's own tree
    sys.path.insert(0, str(ROOT / "{{cookiecutter.project_slug}}"))

if __name__ == "__main__":
    raise SystemExit(import_module("core_tests.simulator.command").main())
