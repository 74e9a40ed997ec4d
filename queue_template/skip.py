"""What the user has the template leave out: patterns in pyproject.toml and in `.cruft.json`, as cruft has them."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path, PurePath
from typing import Any

from queue_template.form import decoded
from queue_template.git import TemplateError
from queue_template.launch import CRUFT
from queue_template.project import Project

SETTINGS = "pyproject.toml"


def patterns_of(project: Project, state: dict[str, Any]) -> list[str]:
    """All patterns, relative to the project's folder. Raises TemplateError for what is none."""
    found = _checked(f"{CRUFT}: skip", state["skip"]) if "skip" in state else []
    file = project.path / SETTINGS
    if not file.is_file():
        return found
    settings: Any = _read(file)
    for key in ("tool", "cruft"):
        settings = settings.get(key, {}) if isinstance(settings, dict) else {}
    if isinstance(settings, dict) and "skip" in settings:
        found = found + _checked(f"{SETTINGS}: skip in [tool.cruft]", settings["skip"])
    return found


def _read(file: Path) -> dict[str, Any]:
    text = decoded(file.name, file.read_bytes())
    try:
        if text is not None:
            return tomllib.loads(text[0])
        why = "it is no UTF-8"
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        why = f"it is no TOML ({error})"
    raise TemplateError(f"{file.name} can't be read, and may say what is to be left out: {why}")


def _checked(where: str, patterns: Any) -> list[str]:
    wrong = [one for one in patterns if not _is_one(one)] if isinstance(patterns, list) else [patterns]
    if wrong:
        raise TemplateError(
            f"{where} must be a list of patterns that stay in the project's folder, such as 'docs/*', not {wrong[0]!r}"
        )
    return list(patterns)


def _is_one(pattern: Any) -> bool:
    parts = PurePath(pattern).parts if isinstance(pattern, str) else ()
    if not parts or PurePath(pattern).anchor or ".." in parts or "\0" in pattern:
        return False
    try:
        list(Path("no such folder").glob(pattern))
    except (ValueError, NotImplementedError):
        return False
    return True


def leave_out(folder: Path, patterns: list[str]) -> None:
    """Delete what matches in a render. A folder and what is in it may both match."""
    for path in {path for pattern in patterns for path in folder.glob(pattern)} - {folder}:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
