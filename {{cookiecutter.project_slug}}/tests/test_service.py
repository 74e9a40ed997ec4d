# The template's: an update changes it. Which files are yours: README.md.
"""This service without a broker: its queues.yaml, its handlers, `python -m app`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from app.queue.config import load_queues
from app.queue.setup import get_dispatcher
from tests.rehearsal import rehearse, write_copy

ROOT = Path(__file__).parents[1]


def test_every_consumed_queue_has_a_handler_with_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    dispatcher = get_dispatcher()
    for queue in load_queues(ROOT / "queues.yaml").queues:
        assert dispatcher.types(queue.name) or not queue.enable_consumer


async def test_every_queue_handles_retries_dead_letters_and_drains_on_the_embedded_provider(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    await rehearse(write_copy(tmp_path), caplog, monkeypatch)


def test_the_real_server_is_ready_with_every_queue_and_ends_on_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "QUEUES_FILE": str(ROOT / "queues.yaml"), "PYTHONSAFEPATH": ""}
    service = subprocess.Popen([sys.executable, "-m", "app"], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 30
        while not is_ready(port):
            assert service.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.05)
        health = httpx2.get(f"http://127.0.0.1:{port}/health/queue").json()
        assert list(health["queues"]) == [queue.name for queue in load_queues(ROOT / "queues.yaml").queues]
        service.send_signal(signal.SIGTERM)
        # Windows has no such signal, and ends the process by force.
        assert service.wait(timeout=30) in ((1,) if os.name == "nt" else (0, -signal.SIGTERM))
    finally:
        service.kill()
        service.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
