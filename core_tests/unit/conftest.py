"""Fixtures for the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.queue.config import QueuesConfig, load_queues
from core_tests.tools.queues_file import Load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where `load` writes."""
    return tmp_path / "queues.yaml"


@pytest.fixture
def load(file: Path) -> Load:
    """Loads a text as `queues.yaml`."""

    def write_and_load(text: str) -> QueuesConfig:
        file.write_text(text, encoding="utf-8")
        return load_queues(file)

    return write_and_load
