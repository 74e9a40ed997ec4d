# The template's: an update changes it. Which files are yours: README.md.
"""The providers: every package in here that holds a `Provider` named `provider`. Its name is the `type` of a queue."""

from __future__ import annotations

import importlib
import pkgutil

from app.queue.errors import ConfigError
from app.queue.interfaces import Provider


def find_provider(kind: str, where: str = "queues.yaml") -> Provider:
    """The provider of that name. Raises ConfigError, which begins with `where`, if this project has none."""
    known = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    if kind not in known:
        what = f"no provider {kind!r}" if kind.isidentifier() else "not the name of a provider"
        raise ConfigError(f"{where}: key 'type': {what}; this project has: {', '.join(known)}")
    provider = importlib.import_module(f"{__name__}.{kind}").provider
    assert isinstance(provider, Provider)
    return provider
