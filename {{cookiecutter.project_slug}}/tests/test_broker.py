# The template's: an update changes it. Which files are yours: README.md.
"""This service at its own brokers, as queues.yaml names them.

A broker that can't be reached skips its test in one line. In CI (`CI=true`), or with REQUIRE_BROKERS=1, it fails it.
What a test made at the broker is deleted by `broker_<provider>.py`; a provider of your own needs such a module.
"""

from __future__ import annotations

import asyncio
import importlib
import os
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from app.queue.config import load_queues
from app.queue.errors import BrokerError, ConfigError
from app.queue.providers import find_provider
from app.queue.setup import get_publisher
from tests.rehearsal import QUEUES_FILE, rehearse, write_copy

REQUIRED = os.environ.get("REQUIRE_BROKERS") == "1" or os.environ.get("CI", "") not in ("", "0", "false")
CONNECT_WITHIN = 10.0


def providers() -> list[str]:
    """The types of queues.yaml that have a broker."""
    with suppress(ConfigError):
        types = {queue.type for queue in load_queues(QUEUES_FILE).queues}
        return sorted(kind for kind in types if find_provider(kind).claims.outlives_process)
    return ["any"]


@pytest.mark.parametrize("provider", providers())
async def test_every_queue_handles_retries_dead_letters_and_drains_at_its_broker(
    provider: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        copy = write_copy(tmp_path, provider)
        queues = load_queues(copy).queues
        for queue in queues:
            publisher = get_publisher(queue)
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    await publisher.open()
            finally:
                await publisher.close()
    except (BrokerError, ConfigError, TimeoutError) as error:
        give_up(f"{provider}: {error or 'the broker does not answer'}")
    delete = importlib.import_module(f"tests.broker_{provider}").delete
    try:
        await rehearse(copy, caplog, monkeypatch)
    finally:
        for queue in queues:
            await delete(queue)


def give_up(why: str) -> NoReturn:
    if REQUIRED:
        pytest.fail(why, pytrace=False)
    pytest.skip(why)
