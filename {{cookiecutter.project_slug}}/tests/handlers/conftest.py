# The template's: an update changes it. Which files are yours: README.md.
"""Handlers are tested without a broker, so the variables that queues.yaml has for one may be missing."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
