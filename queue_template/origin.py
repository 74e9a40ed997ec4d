"""What copier writes of a project, `.copier-answers.yml`, made of what cruft does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from queue_template.answers import answers_of
from queue_template.git import TemplateError
from queue_template.launch import COPIER, CRUFT, address, is_local
from queue_template.releases import version_of

MARK = "# The template's: an update changes it. Which files are yours: README.md."
GITS_OWN = ("git@", "git://", "git+", "gh:", "gl:", "https://github.com/", "https://gitlab.com/")
"""What copier takes for the address of a repository."""


def in_copiers_words(state: dict[str, Any]) -> str:
    """The content of `.copier-answers.yml`, as the template's `copier_extension.py` has copier write it."""
    if state.get("directory"):
        raise TemplateError(f"{COPIER} can't say that the template is in the folder {state['directory']!r} of its own.")
    if state.get("skip"):
        raise TemplateError(
            f"{COPIER} can't say what is left out. Move 'skip' from {CRUFT} to pyproject.toml: [tool.cruft] "
            f"skip = {json.dumps(state['skip'], ensure_ascii=False)}"
        )
    checkout = state.get("checkout") or ""  # a branch would not stay where it is
    said = {
        "_commit_hash": state["commit"],
        "_src_path": for_copier(state["template"]),
        "_commit": checkout if version_of(checkout) else state["commit"],
        **{name.lstrip("_"): answer for name, answer in answers_of(state).items()},
    }
    return "".join(f"{line}\n" for line in [MARK, *(f"{name}: {_quoted(value)}" for name, value in said.items())])


def _quoted(text: str) -> str:
    """JSON that is YAML, too, where these would end the line."""
    quoted = json.dumps(str(text), ensure_ascii=False)
    return quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def for_copier(text: str) -> str:
    """The address of a repository as copier knows that it is one."""
    if text.startswith("bb:"):
        return address(text, Path())[0]
    return text if is_local(text) or text.startswith(GITS_OWN) or text.endswith(".git") else f"git+{text}"
