"""From cruft to copier, and back: another file links the project to its template."""

from __future__ import annotations

import json

from queue_template.answers import answers_of
from queue_template.change import opened
from queue_template.git import TemplateError, git, run_git
from queue_template.launch import COPIER, CRUFT
from queue_template.project import Project, check_clean, check_is_free, commit_command
from queue_template.render import call_cruft, write_state

UPDATES = {
    CRUFT: "uvx --with 'typer<0.29' cruft update",
    COPIER: "uvx --with copier-template-extensions copier update --trust",
}


def relink(project: Project, name: str) -> int:
    """Write the file of this name instead of the other one. The project's other files are the same by both."""
    check_clean(project, (CRUFT, COPIER))
    state, old = project.state(), project.state_file
    if old.name == name:
        raise TemplateError(f"There is a {name} already.")
    check_is_free(project, name)
    with opened(project, fresh=False) as (releases, _, _):
        commit, template = releases.commit(state["commit"]), state["template"].removeprefix("git+")
        if name == CRUFT:
            answers = json.dumps(answers_of(state))
            options = ["--no-input", "--default-config", "--checkout", commit, "--extra-context", answers]
            call_cruft("link", *options, str(releases.folder), folder=project.path)
            state = json.loads((project.path / name).read_text(encoding="utf-8")) | {"checkout": releases.name(commit)}
            state["template"] = state["context"]["cookiecutter"]["_template"] = template
        elif run_git(releases.folder, "cat-file", "-e", f"{commit}:copier.yml").returncode != 0:
            raise TemplateError(f"The template can't be used by copier at {releases.name(commit)}: update first.")
        else:
            state["checkout"] = releases.name(commit)
        replace(project, old.name, name, state)
    commit_it = commit_command(project, f"Update by {name}", [f"{project.prefix}{one}" for one in (name, old.name)])
    print(f"{name} takes the place of {old.name}, and is staged. Then: {commit_it}")
    print(f"From then on, beside this tool: {UPDATES[name]}")
    return 0


def replace(project: Project, old: str, name: str, state: dict[str, object]) -> None:
    """Write one file, delete the other, and stage both."""
    write_state(project.path / name, state)
    git(project.path, "add", "--force", "--", name)
    git(project.path, "rm", "--quiet", "--force", "--ignore-unmatch", "--", old)
    (project.path / old).unlink(missing_ok=True)
