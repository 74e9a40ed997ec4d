"""The service as its users run it: `python -m app`, a real process and real signals."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from core_tests.tools.ports import free_port
from core_tests.tools.project import project, python_path

API_KEY = "a-key"


@contextmanager
def process(
    queues_yaml: str, folder: Path, module: tuple[str, ...] = ("app",), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m app` with this file, or uvicorn with its arguments; yields it and its URL, and ends it."""
    file = folder / "queues.yaml"
    file.write_text(queues_yaml)
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if name != "API_KEY"}
    ours = {"PYTHONPATH": python_path(), "QUEUES_FILE": str(file), "PORT": str(port), "UVICORN_PORT": str(port)}
    service = subprocess.Popen(
        [sys.executable, "-m", *module],
        cwd=project(),
        env={**inherited, **ours, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield service, f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(service.pid, signal.SIGKILL)  # uvicorn's workers, too
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


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: its status (0 if there was none), its JSON, its headers, and after how many seconds."""

    status: int
    content: Any
    headers: Mapping[str, str]
    seconds: float


class ServiceProcess:
    """`python -m MODULE`, to be started, killed and started again: its port, its file and its log stay the same."""

    def __init__(self, module: str, queues_yaml: str, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self._module = module
        self._log_file = folder / f"service-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        file = folder / f"queues-{self.port}.yaml"
        file.write_text(queues_yaml)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUEUE")}
        ours = {"PYTHONPATH": python_path(), "QUEUES_FILE": str(file), "API_KEY": API_KEY, "PORT": str(self.port)}
        self._environment = {**inherited, **ours, **environment}

    def start(self, ready_within: float = 60.0) -> float:
        """Start the process, and wait until it is ready; with 0, don't. Returns the seconds."""
        began = time.monotonic()
        with self._log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module], cwd=project(), env=self._environment, stdout=log, stderr=log
            )
        if ready_within:
            self.wait_until(lambda: self.get("/health/ready").status == 200, "the service is ready", ready_within)
        return time.monotonic() - began

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    @property
    def ended(self) -> bool:
        """True if the process is not running."""
        return self._process is None or self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """What the process has ended with; None if it has not."""
        return None if self._process is None else self._process.poll()

    @property
    def log(self) -> str:
        """All that it has logged, in all its lives."""
        return self._log_file.read_text(errors="replace") if self._log_file.exists() else ""

    def wait_until(
        self, condition: Callable[[], object], what: str, timeout: float = 60.0, interval: float = 0.02
    ) -> float:
        """Return when `condition()` is true, with the seconds; fail if the process ends, or after `timeout` seconds."""
        began = time.monotonic()
        while not condition():
            assert not self.ended, f"the service ended while it was waited for that {what}"
            assert time.monotonic() - began < timeout, f"not within {timeout:g} s: {what}"
            time.sleep(interval)
        return time.monotonic() - began

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """One HTTP request, on a connection of its own."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            return Answer(0, None, {}, time.monotonic() - began)
        finally:
            connection.close()
        content: Any = None
        with suppress(ValueError):
            content = json.loads(text)
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, content, named, time.monotonic() - began)

    def get(self, path: str) -> Answer:
        """A GET, which must not take long."""
        return self.request("GET", path, timeout=5.0)

    def health(self, queue: str) -> dict[str, Any]:
        """What `/health/queue` says of one queue; empty if nobody answers."""
        found: dict[str, Any] = (self.get("/health/queue").content or {"queues": {}})["queues"].get(queue, {})
        return found

    def publish(self, queue: str, message_id: str = "", timeout: float = 60.0, **body: Any) -> Answer:
        """Publish a message over HTTP, `{"type": "work", ...}`."""
        headers = {"X-API-Key": API_KEY, **({"X-Message-Id": message_id} if message_id else {})}
        content = json.dumps({"type": "work", **body}).encode()
        return self.request("POST", f"/queues/{queue}/messages", content, headers, timeout)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait_for_end(self, timeout: float = 60.0) -> float:
        """Return when the process has ended, with the seconds; kill it and fail after `timeout`."""
        assert self._process is not None
        began = time.monotonic()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the service did not end within {timeout:g} s") from None
        return time.monotonic() - began

    def terminate(self, timeout: float = 60.0) -> float:
        """SIGTERM, and wait for the end. Returns the seconds."""
        self.signal(signal.SIGTERM)
        return self.wait_for_end(timeout)

    def kill(self) -> None:
        """`kill -9`. Returns when it is dead."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(30)
