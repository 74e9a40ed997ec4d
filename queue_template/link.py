"""Linking a project that cookiecutter made to its template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from queue_template.git import TemplateError, git
from queue_template.launch import CRUFT, is_local
from queue_template.project import Project, check_clean
from queue_template.releases import CREDENTIALS, Releases
from queue_template.render import call_cruft, write_state

MADE_FROM = ".queue-template.json"
"""What the template wrote into the project: its version, and the answers."""
NAME_IT = "Name the tag, the branch or the commit of the template that the project was made from: --at REF."
PRIVATE = "If it is private, git needs a key or a credential helper for it."


def link(project: Project, url: str, reference: str | None, name: str = CRUFT) -> int:
    """Write the file of this name for a project of plain cookiecutter, with the answers it was made with."""
    check_clean(project)
    if project.state_file.exists():
        raise TemplateError(f"There is a {project.state_file.name} already.")
    if CREDENTIALS.search(url.replace("://git@", "://")):
        raise TemplateError(f"Leave user and token out of the URL, which is committed in {name}: git has helpers.")
    made = made_from(project)
    reference = reference or f"v{made['version']}"
    releases = Releases(url, project.path, project.mirror())
    releases.fetch(PRIVATE)
    commit = releases.commit(reference, NAME_IT)
    options = ["--no-input", "--default-config", "--checkout", commit, "--extra-context", json.dumps(made["answers"])]
    call_cruft("link", *options, str(releases.folder), folder=project.path)
    state = json.loads((project.path / CRUFT).read_text(encoding="utf-8"))
    state["template"] = state["context"]["cookiecutter"]["_template"] = lasting(url, project.path)
    state["checkout"] = reference
    if name != CRUFT:
        (project.path / CRUFT).unlink()
    write_state(project.path / name, state)
    git(project.path, "add", "--force", name)
    print(f"Linked to {reference} of {url}, and staged. Then: git commit -m 'Link to the template'")
    return 0


def made_from(project: Project) -> dict[str, Any]:
    """The template's version and the answers that the project was made with. Raises TemplateError if it doesn't say."""
    try:
        made: dict[str, Any] = json.loads((project.path / MADE_FROM).read_text(encoding="utf-8"))
        made["version"], made["answers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TemplateError(f"{MADE_FROM}, which has the answers, can't be read: {error!r}") from None
    return made


def lasting(url: str, base: Path) -> str:
    """The address as it is written down: that of a folder from the root on, wherever the command was called."""
    return str((base / Path(url).expanduser()).resolve()) if is_local(url) else url
