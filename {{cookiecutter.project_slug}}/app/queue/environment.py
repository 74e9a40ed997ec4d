"""What the environment says: variables in `queues.yaml`, the provider override, the role."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import Any

from app.queue.errors import ConfigError

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-[^}$]*)?\}|\$\{")


class Role(StrEnum):
    """`QUEUE_ROLE`: what this process does of the service's work."""

    ALL = "all"
    API = "api"
    """No consumers."""
    WORKER = "worker"
    """No publishing over HTTP."""


def role() -> Role:
    """The process's role. Raises ConfigError for one that doesn't exist."""
    value = os.environ.get("QUEUE_ROLE") or Role.ALL
    try:
        return Role(value)
    except ValueError:
        raise ConfigError(f"environment variable QUEUE_ROLE: must be one of {', '.join(Role)}, not {value!r}") from None


def provider_override() -> str | None:
    """`QUEUE_PROVIDER`: the provider of every queue, whatever the file says."""
    return os.environ.get("QUEUE_PROVIDER") or None


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
