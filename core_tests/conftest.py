"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from app.queue.providers.memory.broker import broker
from core_tests.contract.figures import FigureTable
from core_tests.tools.project import PROVIDERS, has_polled_kit, has_provider

ONLY_WITH = {
    provider: [provider, f"unit/test_{provider}_*.py", *(["faults"] if provider == "rabbitmq" else [])]
    for provider in PROVIDERS
}
"""The tests that a project without this provider can't run."""
OF_POLLED_KIT = [
    *("unit/test_broker_consumer.py", "unit/test_broker_leases.py"),
    *("simulator", "contract/test_simulated.py"),  # one of its brokers is polled
]
LEFT_OUT = {provider: ONLY_WITH[provider] for provider in PROVIDERS if not has_provider(provider)} | (
    {} if has_polled_kit() else {"polled half of the kit": OF_POLLED_KIT}
)
collect_ignore_glob = [pattern for patterns in LEFT_OUT.values() for pattern in patterns]


settings.register_profile("on a busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("on a busy machine")


def pytest_report_header() -> list[str]:
    """Say which tests are not there, and why."""
    return [f"left out, for the project has no {name}: {', '.join(tests)}" for name, tests in LEFT_OUT.items()]


def pytest_configure(config: pytest.Config) -> None:
    """Print the table of the contract suite at the end, whichever processes its tests ran in."""
    config.pluginmanager.register(FigureTable(), "contract-figures")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of the machine reaches a test; no message of one test reaches another."""
    for name in ("QUEUE_PROVIDER", "QUEUE_ROLE", "QUEUES_FILE", "API_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield
    broker.clear()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, Any]:
    """Reports of other processes come as UTF-8, and what a test logged may hold what can't be written so."""
    return _writable((yield))


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _writable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_writable, value))
    return value
