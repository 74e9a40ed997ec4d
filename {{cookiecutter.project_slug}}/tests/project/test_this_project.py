"""This project as it was answered for: its own queues.yaml, its own handlers, `python -m app`, no broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from app.queue.config import load_queues
from app.queue.setup import get_dispatcher
from tests.tools.ports import free_port

ROOT = Path(__file__).parents[2]


def test_every_consumed_queue_has_a_handler_with_a_method() -> None:
    dispatcher = get_dispatcher()
    for queue in load_queues(ROOT / "queues.yaml").queues:
        assert dispatcher.types(queue.name) or not queue.enable_consumer


def test_the_real_server_is_ready_with_every_queue_and_ends_on_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    port = free_port()
    environment = {**os.environ, "PORT": str(port), "QUEUES_FILE": str(ROOT / "queues.yaml")}
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
        assert service.wait(timeout=30) in (0, -signal.SIGTERM)
    finally:
        service.kill()
        service.wait()


def is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
