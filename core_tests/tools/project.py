"""The project under test: the one whose `app` Python finds. Nothing of it is imported to know that."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

SUITE = Path(__file__).resolve().parents[2]
"""The folder that holds the package `core_tests`."""
PROVIDERS = ("rabbitmq", "redis", "nats")
"""Those that have tests of their own here, in a folder of that name and in files whose names begin with it."""


def project() -> Path:
    """The project's folder."""
    found = importlib.util.find_spec("app")
    assert found is not None, "there is no `app` on the path"
    assert found.origin is not None
    return Path(found.origin).resolve().parents[1]


def python_path() -> str:
    """PYTHONPATH of a process of the service: the project, and these tests, which are no part of it."""
    return os.pathsep.join([str(project()), str(SUITE)])


def has_polled_kit() -> bool:
    """True if the project has the half of the kit that is for polled brokers."""
    return (project() / "app/queue/broker/leases.py").is_file()


def has_provider(name: str) -> bool:
    """True if the project has this provider; where there is no project, nothing is left out."""
    if importlib.util.find_spec("app") is None:
        return True
    return (project() / "app/queue/providers" / name).is_dir()
