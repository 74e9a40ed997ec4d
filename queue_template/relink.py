"""From cruft to copier, and back: another file links the project to its template."""

from __future__ import annotations

from queue_template.answers import answers_of
from queue_template.change import opened
from queue_template.git import TemplateError, run_git
from queue_template.launch import COPIER, CRUFT
from queue_template.link import made_by_cruft, put_links
from queue_template.project import Project, check_clean, check_is_free, commit_command

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
            state = made_by_cruft(releases.folder, commit, answers_of(state)) | {"checkout": releases.name(commit)}
            state["template"] = state["context"]["cookiecutter"]["_template"] = template
        elif run_git(releases.folder, "cat-file", "-e", f"{commit}:copier.yml").returncode != 0:
            raise TemplateError(f"The template can't be used by copier at {releases.name(commit)}: update first.")
        else:
            state["checkout"] = releases.name(commit)
        put_links(project, f"Update by {name}", {name: state, old.name: None})
    commit_it = commit_command(project, f"Update by {name}", [f"{project.prefix}{one}" for one in (name, old.name)])
    print(f"{name} takes the place of {old.name}, and is staged. Then: {commit_it}")
    print(f"From then on, beside this tool: {UPDATES[name]}")
    return 0
