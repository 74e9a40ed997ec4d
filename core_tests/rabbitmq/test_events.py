"""What a listener hears of the links to a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from app.queue.instrumentation.events import Event, LinkLost, LinkOpened, add_listener
from core_tests.tools.example import UserHandler, queue_config, running
from core_tests.tools.proxy import Proxy
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


@pytest.fixture
def proxy(rabbitmq_url: str) -> Iterator[Proxy]:
    """Between the service and RabbitMQ."""
    proxy = Proxy(urlsplit(rabbitmq_url).port or 5672)
    yield proxy
    proxy.close()


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    """What a listener hears during the test."""
    heard: list[Event] = []
    remove = add_listener(heard.append)
    yield heard
    remove()


def credentials(url: str) -> dict[str, str]:
    """Those keys of the configuration that the URL has."""
    parts = urlsplit(url)
    keys = {"username": parts.username, "password": parts.password, "virtual_host": unquote(parts.path[1:])}
    return {name: value for name, value in keys.items() if value}


async def test_connections_that_are_reset_are_told_as_lost_with_a_reason_and_then_as_opened(
    proxy: Proxy, queue_name: str, rabbitmq_url: str, heard: list[Event]
) -> None:
    keys = {"broker_url": "127.0.0.1", "port": proxy.port, **credentials(rabbitmq_url)}
    config: Any = queue_config(queue_name, "rabbitmq", **keys)
    async with running((config, UserHandler())):
        sides = ("consumer", "publisher")
        opened = {LinkOpened(queue_name, side) for side in sides}  # type: ignore[arg-type]
        assert set(heard) == opened
        heard.clear()
        proxy.drop()
        await eventually(lambda: len(heard) == 4, "both are lost and opened again")
    for side in sides:
        lost, again = [event for event in heard if isinstance(event, LinkOpened | LinkLost) and event.what == side]
        assert isinstance(lost, LinkLost)
        assert lost.queue == queue_name
        assert lost.why
        assert again in opened
