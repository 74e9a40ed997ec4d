# The template's: an update changes it. Which files are yours: README.md.
"""What all tests need, yours too; put your own fixtures into `handlers/conftest.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from app.queue.providers.memory.broker import broker

for _name in ("QUEUE_PROVIDER", "QUEUE_ROLE", "QUEUES_FILE", "API_KEY"):
    os.environ.pop(_name, None)  # no setting of the machine reaches a test


@pytest.fixture(autouse=True)
def _no_messages_left() -> Iterator[None]:
    """No message of one test reaches another."""
    yield
    broker.clear()
