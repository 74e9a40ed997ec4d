# The template's: an update changes it. Which files are yours: README.md.
"""`queues.yaml` as pydantic models, and `load_queues()`.

Every mistake is a ConfigError whose message names the file, the queue, the key, and what is allowed. Values are never
repeated in it, since a wrong one may be a password in the wrong place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.queue.errors import ConfigError
from app.queue.providers import find_provider
from app.queue.settings.document import interpolate, read, unknown, validate
from app.queue.settings.queues import NAME, CircuitBreakerConfig, PauseConfig, QueueConfig, QueuesConfig, RetryConfig

__all__ = ["CircuitBreakerConfig", "PauseConfig", "QueueConfig", "QueuesConfig", "RetryConfig", "load_queues"]


def load_queues(path: str | os.PathLike[str] | None = None) -> QueuesConfig:
    """Read `path`, or the file that `QUEUES_FILE` names, or `./queues.yaml`. Raises ConfigError."""
    file = Path(path or os.environ.get("QUEUES_FILE") or "queues.yaml")
    document = read(file)
    # The provider of every queue, whatever the file says.
    override = os.environ.get("QUEUE_PROVIDER") or None
    queues: list[QueueConfig] = []
    if strangers := [key for key in document if key not in QueuesConfig.model_fields]:
        raise ConfigError(f"{file}: {unknown(strangers[0], QueuesConfig, [])}")
    entries = document.pop("queues", None)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{file}: key 'queues' must be a list with at least one queue")
    for number, entry in enumerate(entries, 1):
        queue = _load_queue(file, number, entry, override)
        if any(queue.name == other.name for other in queues):
            raise ConfigError(f"{file}: queue {queue.name!r} is there twice")
        queues.append(queue)
    return validate(QueuesConfig, {**interpolate(document, f"{file}"), "queues": queues}, f"{file}")


def _load_queue(file: Path, number: int, entry: Any, override: str | None) -> QueueConfig:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{file}: queue number {number} must be a mapping that begins with 'name: ...'")
    name = entry.get("name")
    named = isinstance(name, str) and NAME.fullmatch(name)
    where = f"{file}: queue {name!r}" if named else f"{file}: queue number {number}"
    kind = interpolate(entry.get("type"), f"{where}, key 'type'")
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: key 'type' must name a provider, for example 'type: rabbitmq'")
    model = find_provider(kind, where).config
    if override is not None and override != kind:
        # The file stays as it is, with keys for a broker that is not there. Those must be known, and are then left out.
        for key in entry:
            if key not in model.model_fields:
                raise ConfigError(f"{where}: {unknown(key, model, [])}")
        model = find_provider(override, "environment variable QUEUE_PROVIDER").config
        entry = {key: value for key, value in entry.items() if key in model.model_fields} | {"type": override}
    return validate(model, interpolate(dict(entry), where), where)
