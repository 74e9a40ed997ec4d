"""Linking a project that cookiecutter made to its template."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from queue_template.git import TemplateError, git_bytes
from queue_template.index import Entry, Indexed, lay_out, tree
from queue_template.launch import COPIER, CRUFT, HOSTS, address, is_local
from queue_template.plan import Step
from queue_template.project import Project, check_clean, check_is_free, commit_command
from queue_template.releases import CREDENTIALS, Releases
from queue_template.render import call_cruft, write_state
from queue_template.writing import carry_out

MADE_FROM = ".queue-template.json"
"""What the template wrote into the project: its version, and the answers."""
NAME_IT = "Name the tag, the branch or the commit of the template that the project was made from: --at REF."
PRIVATE = "If it is private, git needs a key or a credential helper for it."


def link(project: Project, url: str, reference: str | None, name: str | None = None) -> int:
    """Write the file of this name, or `.cruft.json`, for a project of plain cookiecutter, with its own answers.

    In a project that has a link, `url` is where its template has moved to.
    """
    check_clean(project, (CRUFT, COPIER))
    url = lasting(url, Path.cwd())
    if CREDENTIALS.search(url.replace("://git@", "://")):
        raise TemplateError("Leave user and token out of the URL, which is committed: git has helpers.")
    releases = Releases(url, project.path, project.mirror())
    releases.fetch(PRIVATE)
    if project.state_file.exists():
        there = project.state_file.name
        if reference:
            raise TemplateError(f"There is a {there} already, which has the commit. Leave out --at.")
        if name not in (None, there):
            raise TemplateError(f"There is a {there} already. To have {name} instead, leave out the URL.")
        return move(project, releases, url)
    for one in {CRUFT, name or CRUFT}:
        check_is_free(project, one)
    made = made_from(project)
    reference = reference or f"v{made['version']}"
    commit = releases.commit(reference, NAME_IT)
    state = made_by_cruft(releases.folder, commit, made["answers"]) | {"checkout": reference}
    stage(project, state, url, name or CRUFT)
    commit_it = commit_command(project, "Link to the template", [f"{project.prefix}{name or CRUFT}"])
    print(f"Linked to {reference} of {url}, and staged. Then: {commit_it}")
    return 0


def move(project: Project, releases: Releases, url: str) -> int:
    """Change the template's address. Raises TemplateError if what is there is not the project's template."""
    state = project.state()
    if not releases.has_released(state["commit"]):
        raise TemplateError(
            f"{url} does not have the commit {state['commit'][:10]}, which the project is of. Is it another template?"
        )
    if not stage(project, state, url, project.state_file.name):
        print(f"The template is at {url} already. Nothing was changed.")
        return 0
    commit_it = commit_command(project, "The template has moved", [f"{project.prefix}{project.state_file.name}"])
    print(f"The template is now at {url}, and that is staged. Then: {commit_it}")
    return 0


def stage(project: Project, state: dict[str, Any], url: str, name: str) -> bool:
    """Write and stage the file of this name, with this address of the template. False if it is so already."""
    state["template"] = state["context"]["cookiecutter"]["_template"] = url
    return put_links(project, "Link to the template", {name: state})


def put_links(project: Project, what: str, states: dict[str, dict[str, Any] | None]) -> bool:
    """Have the files of these names say this, on disk and in the index; None is for one that goes. `undo` knows it.

    False if it is so already.
    """
    committed = tree(project.top, "HEAD", project.prefix)
    with tempfile.TemporaryDirectory(prefix="template-") as folder:
        scratch, steps = Path(folder).resolve(), []
        for name, state in states.items():
            file, full, entry = project.path / name, f"{project.prefix}{name}", None
            before = committed.get(full)
            if state is not None:
                if file.is_file():
                    shutil.copyfile(file, scratch / name)  # which stays if it says the same
                write_state(scratch / name, state)
                words = ("hash-object", "-w", "--stdin", f"--path={full}")
                blob = git_bytes(project.top, *words, given=(scratch / name).read_bytes()).decode().strip()
                entry = Entry("100755" if before and before.mode == "100755" else "100644", blob)
            if entry != before or (entry is None and file.exists()):
                steps.append(Step(full, before, Indexed({0: entry}) if entry else None, entry))
        lay_out(project.top, {step.name: step.disk for step in steps if step.disk}, scratch / "out")
        if steps:
            carry_out(project, what, steps, scratch / "out")
    return bool(steps)


def made_by_cruft(template: Path, commit: str, answers: dict[str, Any]) -> dict[str, Any]:
    """What `cruft link` writes: not in the project, since it would be the address of the mirror for a moment."""
    options = ["--no-input", "--default-config", "--checkout", commit, "--extra-context", json.dumps(answers)]
    with tempfile.TemporaryDirectory(prefix="template-", ignore_cleanup_errors=True) as folder:
        call_cruft("link", *options, str(template), folder=Path(folder))
        state: dict[str, Any] = json.loads((Path(folder) / CRUFT).read_text(encoding="utf-8"))
    return state


def made_from(project: Project) -> dict[str, Any]:
    """The template's version and the answers that the project was made with. Raises TemplateError if it doesn't say."""
    try:
        made: dict[str, Any] = json.loads((project.path / MADE_FROM).read_text(encoding="utf-8"))
        made["version"], made["answers"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TemplateError(f"{MADE_FROM}, which has the answers, can't be read: {error!r}") from None
    return made


def lasting(url: str, here: Path) -> str:
    """The address as it is written down: one that cruft and git know, too, and that of a folder from the root on."""
    if is_local(url):
        return str((here / Path(url).expanduser()).resolve())
    return address(url, here)[0] if url.partition(":")[0] in HOSTS else url
