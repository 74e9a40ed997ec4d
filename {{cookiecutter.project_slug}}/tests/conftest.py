"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.queue.providers.memory.broker import broker
from tests.contract.figures import FigureTable


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
