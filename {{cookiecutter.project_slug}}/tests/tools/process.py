"""The service as its users run it: `python -m app`, a real process and real signals."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.tools.ports import free_port

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
    """True if the URL answers with that status."""
    try:
        return httpx2.get(url, timeout=5).status_code == status
    except httpx2.TransportError:
        return False


def wait_until_answers(service: subprocess.Popen[str], url: str, status: int, timeout: float = 30.0) -> None:
    """Return when the URL answers with that status; fail if the process ends, or after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not answers(url, status):
        assert service.poll() is None, service.communicate()[0]
        assert time.monotonic() < deadline, f"{url} did not answer {status}"
        time.sleep(0.05)
