"""The service as its users run it: `python -m app`, a real process and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.tools.rabbitmq_node import free_port

ROOT = Path(__file__).parents[2]


@contextmanager
def process(queues_yaml: str, folder: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m app` with this file; yields it and its URL, and ends it."""
    file = folder / "queues.yaml"
    file.write_text(queues_yaml)
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if name != "API_KEY"}
    service = subprocess.Popen(
        [sys.executable, "-m", "app"],
        cwd=ROOT,
        env={**inherited, "QUEUES_FILE": str(file), "PORT": str(port), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield service, f"http://127.0.0.1:{port}"
    finally:
        service.kill()
        service.communicate(timeout=30)


def answers(url: str, status: int) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == status
    except httpx2.TransportError:
        return False


def wait_until_answers(service: subprocess.Popen[str], url: str, status: int, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not answers(url, status):
        assert service.poll() is None, service.communicate()[0]
        assert time.monotonic() < deadline, f"{url} did not answer {status}"
        time.sleep(0.05)


def test_with_no_broker_it_is_alive_and_not_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    yaml = f"""
queues:
  - {{name: user_channel, type: rabbitmq, broker_url: 127.0.0.1, port: {free_port()}, enable_consumer: false}}
"""
    with process(yaml, tmp_path, API_KEY="k") as (service, url):
        wait_until_answers(service, f"{url}/health/live", 200)
        assert answers(f"{url}/health/ready", 503)
        health = httpx2.get(f"{url}/health/queue")
        assert health.status_code == 503
        assert health.json()["queues"]["user_channel"]["publisher"] == "down"
        assert "RabbitMQ at 127.0.0.1" in health.json()["queues"]["user_channel"]["detail"]
        answer = httpx2.post(
            f"{url}/queues/user_channel/messages",
            json={"type": "send_audio"},
            headers={"X-API-Key": "k", "X-Message-Id": "mine"},
        )
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert (answer.json()["message_id"], answer.json()["may_have_landed"]) == ("mine", False)
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=30)
        assert service.returncode in (0, -signal.SIGTERM)


def test_ready_says_503_while_draining_before_the_port_closes(tmp_path: Path) -> None:
    yaml = """
queues:
  - {name: user_channel, type: memory, enable_consumer: false}
drain: {delay: 3}
"""
    with process(yaml, tmp_path) as (service, url):
        wait_until_answers(service, f"{url}/health/ready", 200)
        service.send_signal(signal.SIGTERM)
        wait_until_answers(service, f"{url}/health/ready", 503)
        assert httpx2.get(f"{url}/health/ready").json() == {"status": "draining"}
        service.communicate(timeout=30)


@pytest.mark.parametrize(
    ("yaml", "environment", "said"),
    [
        ("queues: []", {}, "key 'queues' must be a list with at least one queue"),
        ("queues:\n  - {name: q, type: rabbitmq, prefetsch: 1}", {}, "did you mean 'prefetch'?"),
        (
            "queues:\n  - {name: q, type: rabbitmq, password: '${NOT_SET}'}",
            {},
            "environment variable NOT_SET is not set",
        ),
        ("queues:\n  - {name: q, type: memory, enable_consumer: false}", {"QUEUE_ROLE": "boss"}, "QUEUE_ROLE"),
    ],
)
def test_a_wrong_configuration_is_one_message_and_exit_code_2(
    tmp_path: Path, yaml: str, environment: dict[str, str], said: str
) -> None:
    with process(yaml, tmp_path, **environment) as (service, _):
        output, _ = service.communicate(timeout=30)
    assert service.returncode == 2
    assert said in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1, output
