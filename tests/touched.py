"""What a user writes in a project: handlers filled in, keys, a route, dependencies, files of their own."""

from __future__ import annotations

import re
from pathlib import Path

FILLED = "        self.seen = [message]  # mine"


def touch(project: Path) -> dict[str, list[str]]:
    """Do a user's work. Returns the user's lines of every file."""
    before = {file: file.read_text(encoding="utf-8") for file in _written(project) if file.is_file()}
    for handler in (project / "app/queue/handlers").glob("*.py"):
        if handler.name not in ("__init__.py", "register_handlers.py"):
            fill_in(handler)
    for test in (project / "tests/handlers").glob("test_*.py"):
        _edit(test, r'(process_message\(\{"type": "[^"]*")\}', r'\1, "user_id": 1}')
    _edit(project / "queues.yaml", r"(      max_attempts: \d+\n)", r"\1      initial_delay: 2 # mine\n")
    with (project / "queues.yaml").open("a", encoding="utf-8") as file:
        file.write("    prefetch: 50 # mine\n\nconsumer_threads: 3 # mine\n")
    main = project / "app/main.py"
    _edit(main, r"(from fastapi import FastAPI\n)", r"\1from fastapi.responses import PlainTextResponse\n")
    with main.open("a", encoding="utf-8") as file:
        file.write('\n\n@app.get("/mine")\nasync def mine() -> PlainTextResponse:\n    """Mine."""\n')
        file.write('    return PlainTextResponse("mine")\n')
    pyproject = project / "pyproject.toml"
    _edit(pyproject, r"(    # Yours: `uv add` puts[^\n]*\n)", r'\1    "attrs>=24", # mine\n')
    _edit(pyproject, r"(    # Yours: `uv add --dev`[^\n]*\n)", r'\1    "iniconfig>=2", # mine\n')
    with (project / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("mine/\n")
    (project / "app/mine.py").write_text('"""Mine."""\n', encoding="utf-8")
    lines = {}
    for written in _written(project):
        old = before.get(written, "").splitlines()
        new = [line for line in written.read_text(encoding="utf-8").splitlines() if line.strip() and line not in old]
        if new:
            lines[written.relative_to(project).as_posix()] = new
    return lines


def fill_in(handler: Path) -> None:
    """Another body for every method, a field in every model, and no import that is not needed any more."""
    _edit(handler, r"        logger\.info\([^\n]*", FILLED)
    _edit(handler, r'(    type: Literal\["[^"]*"\] = "[^"]*"\n)', r"\1    user_id: int  # mine\n")
    _edit(handler, r'    model_config = ConfigDict\(extra="allow"\)\n\n', "")
    _edit(handler, r"import BaseModel, ConfigDict", "import BaseModel")
    _edit(handler, r"import logging\n", "")
    _edit(handler, r"logger = logging\.getLogger\(__name__\)\n\n\n", "\n")
    _edit(handler, r"    current_delivery,\n", "")
    _edit(handler, r"from app\.queue\.handling import \(\n\)\n\n", "")


def _written(project: Path) -> list[Path]:
    names = ["queues.yaml", "app/main.py", "pyproject.toml", ".gitignore", "app/mine.py"]
    handlers, tests = project / "app/queue/handlers", project / "tests/handlers"
    return [project / name for name in names] + sorted(handlers.glob("*.py")) + sorted(tests.glob("test_*.py"))


def _edit(file: Path, pattern: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(re.sub(pattern, new, text), encoding="utf-8")
