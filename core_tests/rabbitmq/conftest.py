"""Fixtures for the tests that need a RabbitMQ."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from core_tests.tools.rabbitmq_queues import delete_queues


@pytest.fixture
def rabbitmq_url() -> str:
    """The URL of the broker under test."""
    url = os.environ.get("RABBITMQ_URL")
    if not url:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("there is no RabbitMQ: run the tests by `make test`, or set RABBITMQ_URL")
        pytest.skip("needs a RabbitMQ: run the tests by `make test`, or set RABBITMQ_URL")
    return url


@pytest.fixture
def queue_name(rabbitmq_url: str) -> Iterator[str]:
    """A name of the test's own; whatever was made for it at the broker is deleted afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    delete_queues(rabbitmq_url, name)
