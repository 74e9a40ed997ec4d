"""What copier needs to render this template as cookiecutter does: the context, the files that are copied, the checks.

copier renders every file below `_subdirectory`, knows no `_copy_without_render`, and has its answers as variables of
their own. Everything here comes from `cookiecutter.json` and the hook, so that both programs do the same.
"""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

ROOT = Path(__file__).parent
SERVICE = "{{cookiecutter.project_slug}}/"
VARIABLES: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
PROMPTS: dict[str, Any] = VARIABLES["__prompts__"]
COPIED: list[str] = VARIABLES["_copy_without_render"]
ANSWERS = {name: name.lstrip("_") for name in VARIABLES if not name.startswith("_") or name == "_polled_kit"}
"""What cookiecutter calls an answer, and what copier does, to which a name with _ in front is no question."""


class Answers(dict[str, Any]):
    """The variable `cookiecutter`: the answers, and the hidden values of cookiecutter.json, rendered when asked for."""

    def __init__(self, environment: Environment, given: dict[str, Any]) -> None:
        super().__init__({ours: given[theirs] for ours, theirs in ANSWERS.items() if theirs in given})
        self._environment = environment

    def __missing__(self, name: str) -> str:
        self[name] = self.rendered(name)
        return str(self[name])

    def rendered(self, name: str) -> str:
        """The value that cookiecutter.json has. A wrong answer ends the program."""
        return self._environment.from_string(VARIABLES[name]).render(cookiecutter=self)


class CopierExtension(Extension):
    """Makes copier's environment like cookiecutter's."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        _add_filters(environment)
        environment.context_class = _with_cookiecutter(environment.context_class)
        environment.globals.update(prompt_of=prompt_of, default_of=default_of, choices_of=choices_of, refused=refused)
        environment.filters.update({"dropped_files": self._dropped_files, "answer_lines": answer_lines})

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """A file that cookiecutter copies as it is stays as it is."""
        if name is None or not any(fnmatch(name.removeprefix(SERVICE), pattern) for pattern in COPIED):
            return source
        return "{{ %s }}" % json.dumps(source, ensure_ascii=False)

    def _dropped_files(self, answers: Answers) -> str:
        """The patterns of the files that the hook would drop, one a line: copier never writes them."""
        source = (ROOT / "hooks/post_gen_project.py").read_text(encoding="utf-8")
        hook: dict[str, Any] = {"__name__": "hook"}
        exec(self.environment.from_string(source).render(cookiecutter=answers), hook)  # noqa: S102 - our own
        only_with = hook["ONLY_WITH"]
        return "\n".join(
            f"/{pattern}" for names in filter(hook["is_dropped"], only_with) for pattern in only_with[names]
        )


def _add_filters(environment: Environment) -> None:
    """The filters that cookiecutter has, too, of this very version of the template."""
    sys.path.insert(0, str(ROOT))
    try:
        from queue_template_extension import QueueTemplateExtension  # noqa: PLC0415
    finally:
        sys.path.remove(str(ROOT))
    QueueTemplateExtension(environment)  # which forgets its modules, so that the next version is imported anew
    del environment.globals["_copier_conf"]


def answer_lines(answers: dict[str, Any], commit: str | None) -> str:
    """The content of `.copier-answers.yml`: YAML of which each line is a name and a JSON string.

    `template.py` and `queue-template` read it, and write it, without a library for YAML.
    """
    names = ["_src_path", "_commit", *ANSWERS.values()]
    state = {"_commit_hash": commit} | {name: answers[name] for name in names if name in answers}
    return "\n".join(f"{name}: {_quoted(value)}" for name, value in state.items() if value is not None)


def _quoted(text: str) -> str:
    """JSON that is YAML, too, where these would end the line."""
    quoted = json.dumps(str(text), ensure_ascii=False)
    return quoted.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def _with_cookiecutter(base: type[Context]) -> type[Context]:
    class WithCookiecutter(base):  # type: ignore[misc, valid-type] # its base is only known at run time
        def __init__(self, environment: Environment, parent: dict[str, Any], *rest: Any, **more: Any) -> None:
            if "_copier_conf" in parent:
                if parent["_copier_conf"]["skip_tasks"]:
                    raise SystemExit("Error: without its task copier writes no handlers: leave --skip-tasks out")
                parent.setdefault("cookiecutter", Answers(environment, parent))
            super().__init__(environment, parent, *rest, **more)

    return WithCookiecutter


def prompt_of(name: str) -> str:
    """The text of a question."""
    prompt = PROMPTS[name]
    return str(prompt["__prompt__"] if isinstance(prompt, dict) else prompt)


@pass_context
def default_of(context: Context, name: str) -> str:
    """The answer of who presses Enter; of several choices, the first."""
    value = VARIABLES[name]
    text: str = value[0] if isinstance(value, list) else context["cookiecutter"].rendered(name)
    return text


@pass_context
def choices_of(context: Context, name: str) -> str:
    """The choices, as a JSON list of texts and values. A given answer that is none of them ends the program."""
    given = context["_copier_conf"]["data"].get(name, VARIABLES[name][0])
    if str(given) not in VARIABLES[name]:
        raise SystemExit(f"Error: {name}: {str(given)[:80]!r} must be one of {', '.join(VARIABLES[name])}")
    return json.dumps([(PROMPTS[name].get(value, value), value) for value in VARIABLES[name]])


@pass_context
def refused(context: Context, name: str, check: str) -> str:
    """What is wrong with an answer, by a check of cookiecutter.json; empty if nothing is.

    The person who is asked reads it below the question. An answer that was given ends the program, with one line.
    """
    try:
        context["cookiecutter"].rendered(check)
    except SystemExit as end:
        if context["_copier_conf"]["defaults"] or name in context["_copier_conf"]["data"]:
            raise
        return str(end.code).removeprefix("Error: ")
    return ""
