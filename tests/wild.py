"""What a project looks like that lives among others, with tools and bots at work in it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.repository import commit, run
from tests.touched import touch

HIGHER = {
    "uvicorn": "0.40",
    "fastapi": "0.141",
    "mypy": "1.19",
    "ruff": "0.15",
    "rabbitmq": "4.2",
    "redis": "8.3",
    "nats": "2.13",
    "python": "3.14",
    "actions/checkout": "f" * 40 + " # v9.9.9",
}
"""What a bot raises, and to what."""
VERSIONS = {
    "pyproject.toml": r'(")(uvicorn|fastapi|mypy|ruff)(>=)[\d.]+',
    "Dockerfile": r"(FROM )(python)(:)[\d.]+",
    "compose.yaml": r"(image: )(rabbitmq|redis|nats)(:)[\d.]+",
    ".github/workflows/ci.yml": r"(uses: )(actions/checkout)(@)\w+ # v[\d.]+",
}
"""Where."""
IN_CRLF = ("queues.yaml", "app/main.py", ".env.example")
MARKS = "<<<<<<< ours\none\n=======\nother\n>>>>>>> theirs\n"
"""A file that a test of the user's reads. No command of ours may stop at it."""
OWN = {"docs/own.md": "# Own\n", "tests/data/conflict.txt": MARKS, "app/queue/own.py": '"""Own."""\n'}


def neighbours(top: Path) -> None:
    """Another project in the same repository, with what looks like a merge that was left half-way."""
    other = top / "services/other"
    (other / "tests/data").mkdir(parents=True)
    (other / "tests/data/conflict.txt").write_text(MARKS, encoding="utf-8")
    (other / "tests/data/patch.rej").write_text("--- a\n+++ b\n", encoding="utf-8")
    (other / ".gitignore").write_text("*.log\nbuild/\n", encoding="utf-8")


def go_wild(project: Path) -> dict[str, list[str]]:
    """`touch`, and then bumps, other line lengths, a package, CRLF, and own files. Returns the user's lines."""
    before = {name: _lines(project / name) for name in VERSIONS}
    for name, pattern in VERSIONS.items():
        text = (project / name).read_text(encoding="utf-8")
        raised = re.sub(pattern, lambda found: f"{found[1]}{found[2]}{found[3]}{HIGHER[found[2]]}", text)
        (project / name).write_text(raised, encoding="utf-8")
    bumped = {name: [line for line in _lines(project / name) if line not in before[name]] for name in VERSIONS}
    commit(project, "Bump")
    lines = touch(project)
    for name, mine in bumped.items():
        lines[name] = lines.get(name, []) + mine
    written = ("app/queue/handlers", "tests/handlers", "app/main.py")
    run(project, "ruff", "format", "--quiet", "--no-cache", "--config", "line-length = 88", *written)
    lines = {name: [line for line in mine if line in _lines(project / name)] for name, mine in lines.items()}
    _make_a_package(project, lines)
    for name in IN_CRLF:
        data = (project / name).read_bytes().replace(b"\r\n", b"\n")
        (project / name).write_bytes(data.replace(b"\n", b"\r\n"))
    for name, text in OWN.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
        lines[name] = text.splitlines()
    return lines


def _make_a_package(project: Path, lines: dict[str, list[str]]) -> None:
    """Of the first handler."""
    modules = sorted((project / "app/queue/handlers").glob("[!_]*.py"))
    handler = next(file for file in modules if file.name != "register_handlers.py")
    handler.with_suffix("").mkdir()
    there = handler.rename(handler.with_suffix("") / "__init__.py")
    lines[there.relative_to(project).as_posix()] = lines.pop(handler.relative_to(project).as_posix())


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
