# The template's: an update changes it. Which files are yours: README.md.
"""A YAML file as a mapping, with the environment's variables filled in, and as a model.

The errors that are made of it name the file, the line and the key.
"""

from __future__ import annotations

import difflib
import os
import re
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from app.queue.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)
_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}$]*)?\}|\$\{")


def read(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ConfigError."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file (looked in {Path.cwd()}; QUEUES_FILE names another)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from None
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = error.problem or "can't be read"
        if isinstance(error, yaml.constructor.ConstructorError | yaml.composer.ComposerError):
            problem = re.sub("'[^']*'", "'...'", problem)  # a value that looks like a tag or an alias
        raise ConfigError(f"{file}{place}: not valid YAML: {problem}") from None
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{file}: not valid YAML; is there a date, a number or a character that can't be?") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: must be a mapping with the key 'queues'")
    return document


class _DuplicateKeyError(yaml.MarkedYAMLError):
    """A key that is there twice."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, where PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                continue
            if key_node.value in seen:
                raise _DuplicateKeyError(None, None, f"key {key_node.value!r} is there twice", key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def interpolate(value: Any, where: str) -> Any:
    """`value`, a parsed YAML document, with `${NAME}` and `${NAME:-default}` filled in from the environment.

    The default counts where the variable is unset or empty, as in a shell. `$${` stands for `${`. What was filled in is
    text, and stays what it is: it is not parsed again. Raises ConfigError for a variable that isn't there.
    """
    if isinstance(value, dict):
        return {key: interpolate(item, f"{where}, key {key!r}") for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, where) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: _replacement(match, where), value)
    return value


def _replacement(match: re.Match[str], where: str) -> str:
    if match[0] == "$${":
        return "${"
    name, default = match[1], match[2]
    if name is None:
        raise ConfigError(
            f"{where}: a variable is written ${{NAME}} or ${{NAME:-default}}, with no '$' in the default; "
            "$${ stands for ${"
        )
    found = os.environ.get(name)
    if default is not None:
        return found or default[2:]
    if found is None:
        raise ConfigError(f"{where}: environment variable {name} is not set, and the key gives no default (:-...)")
    return found


def validate(model: type[Model], data: dict[str, Any], where: str) -> Model:
    """`data` as the model. Raises ConfigError, a line for each mistake, each with its key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_line(model, problem) for problem in error.errors(include_url=False, include_input=False)]
        joined = lines[0] if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)
        raise ConfigError(f"{where}: {joined}") from None


def _line(model: type[BaseModel], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return unknown(key, model, location[:-1])
    text = problem["msg"].removeprefix("Value error, ")
    return f"key {key!r}: {text}" if key else text


def unknown(key: object, model: type[BaseModel], path: list[str]) -> str:
    """What is wrong with a key that the model does not have, and what it may have been meant for."""
    known = _keys_at(model, path)
    close = difflib.get_close_matches(str(key).rpartition(".")[2], known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}"
    return f"key {key!r}: unknown key; {hint}"


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for name in path:
        field = model.model_fields.get(name)
        annotations = (field.annotation, *typing.get_args(field.annotation)) if field else ()
        sections = [inner for inner in annotations if isinstance(inner, type) and issubclass(inner, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return sorted(model.model_fields)
