"""The tests that a project keeps: what they leave at a broker, and what they say where there is none."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pika
import pika.exceptions
import pytest
import yaml
from nats.aio.client import Client
from redis import Redis

from tests.conftest import Bake, Project

BROKERS = ("rabbitmq", "redis", "nats")
PLACES = ("dlq_", "parked_", "quarantine_")
NOWHERE = dict.fromkeys((f"{broker.upper()}_URL" for broker in BROKERS), "localhost:1")


@pytest.fixture
def urls() -> dict[str, str]:
    """Where the brokers are."""
    found = {broker: os.environ.get(f"{broker.upper()}_URL", "") for broker in BROKERS}
    if not all(found.values()):
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("needs the brokers: run the tests by `make test`")
        pytest.skip("needs the brokers: run the tests by `make test`")
    return found


def test_a_rehearsal_leaves_nothing_at_any_broker(bake: Bake, tmp_path: Path, urls: dict[str, str]) -> None:
    name = f"left_{uuid.uuid4().hex[:8]}"
    project = bake(queues="; ".join(f"{name}_{broker}@{broker}: x" for broker in BROKERS), max_attempts="1")
    said = project.run(
        "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base"), REQUIRE_BROKERS="1"
    )
    assert "9 passed" in said
    copies = [yaml.safe_load(file.read_text())["queues"] for file in (tmp_path / "base").rglob("queues.yaml")]
    rehearsed = {queue["name"] for queues in copies for queue in queues if queue["type"] == "rabbitmq"}
    assert len(rehearsed) == 2
    for queue in rehearsed:
        for place in (queue, *(place + queue for place in PLACES), f"retry_{queue}_100"):
            assert not is_at_rabbitmq(urls["rabbitmq"], place)
    with Redis.from_url(urls["redis"]) as client:
        assert not list(client.scan_iter(f"*{name}*"))
    assert not [stream for stream in asyncio.run(streams(urls["nats"])) if name in stream]


def is_at_rabbitmq(url: str, queue: str) -> bool:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        connection.channel().queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    else:
        return True
    finally:
        connection.close()


async def streams(url: str) -> list[str]:
    client = Client()
    await client.connect(url, allow_reconnect=False)
    try:
        return [info.config.name or "" for info in await client.jetstream().streams_info()]
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"CI": "", "REQUIRE_BROKERS": ""}, 0, "skipped"),
        ({"CI": "true"}, 1, "failed"),
        ({"REQUIRE_BROKERS": "1"}, 1, "failed"),
    ],
    ids=["alone", "in CI", "required"],
)
def test_without_its_broker_a_test_is_skipped_in_one_line_and_fails_in_ci(
    default_project: Project, environment: dict[str, str], code: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_broker.py"],
        cwd=default_project.path,
        env={**os.environ, **NOWHERE, "COLUMNS": "300", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert f"1 {said}" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith(("SKIPPED", "FAILED"))]
    assert len(lines) == 1
    assert "rabbitmq: RabbitMQ at localhost:1" in lines[0]
