"""Rendering the template at a commit, by cruft."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queue_template.git import TemplateError, clean_environment
from queue_template.launch import COPIER
from queue_template.origin import in_copiers_words
from queue_template.skip import leave_out

CRUFT = (sys.executable, "-I", "-X", "utf8", "-m", "cruft")
"""In a process of its own, since a template's extension is imported; isolated, so that nothing of the project's is."""
ENVIRONMENT = {"COLUMNS": "10000"}
"""cruft breaks what it says into short lines."""
Version = tuple[str, dict[str, Any]]
"""A commit of the template, and answers."""


@dataclass(frozen=True)
class Render:
    """The template at a commit with these answers. `path` is the project that comes out, `state` its `.cruft.json`."""

    path: Path
    state: dict[str, Any]


def render_both(
    clone: Path, scratch: Path, state: dict[str, Any], skip: list[str], old: Version, new: Version
) -> tuple[Render, Render]:
    """Render two pairs of (commit, answers), at the same time. Raises TemplateError for an answer that is refused."""
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(render, clone, scratch / "old", state, skip, *old)
        second = threads.submit(render, clone, scratch / "new", state, skip, *new)
        return first.result(), second.result()


def render(
    clone: Path, folder: Path, state: dict[str, Any], skip: list[str], commit: str, answers: dict[str, Any]
) -> Render:
    """Render into `folder`. What matches a pattern of `skip` is left out, as `cruft update` does."""
    temporary = folder.with_name(f"{folder.name} temporary")
    for new in (folder, temporary):
        new.mkdir(parents=True)
    answers_file = folder / "answers.json"
    answers_file.write_text(json.dumps(answers), encoding="utf-8")
    options = ["--no-input", "--default-config", "--checkout", commit, "--extra-context-file", str(answers_file)]
    if state.get("directory"):
        options += ["--directory", state["directory"]]
    call_cruft("create", *options, "--output-dir", str(folder), str(clone), scratch=temporary)
    (project,) = (path for path in folder.iterdir() if path.is_dir())
    project, made = with_state(project, state)
    leave_out(project, skip)
    return Render(project, made)


def with_state(project: Path, state: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """The folder, less its `.cruft.json`; and what that says, with the template's own URL, not its clone's."""
    file = project / ".cruft.json"
    made: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    made["template"] = made["context"]["cookiecutter"]["_template"] = state["template"]
    return project, made | ({"skip": state["skip"]} if "skip" in state else {})


def call_cruft(*arguments: str, folder: Path | None = None, scratch: Path | None = None) -> None:
    """Run cruft, in a folder, and with its temporary files in another one.

    Raises TemplateError with what it, or the template, says of a wrong answer.
    """
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)) if scratch else {}
    done = subprocess.run(
        [*CRUFT, *arguments],
        cwd=folder,
        env={**clean_environment(), **ENVIRONMENT, **temporary},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("Error: ")]
        last = (said or lines or ["cruft failed without a word."])[-1]
        raise TemplateError(re.sub(r"^\w*Error: ", "", last))


def write_state(file: Path, state: dict[str, Any]) -> None:
    """Write `.cruft.json` as cruft does, or `.copier-answers.yml` as copier does. One that says the same stays."""
    if file.name == COPIER:
        file.write_bytes(in_copiers_words(state).encode())
    elif not file.is_file() or json.loads(file.read_text(encoding="utf-8")) != state:
        file.write_bytes((json.dumps(state, ensure_ascii=False, indent=2) + "\n").encode())
