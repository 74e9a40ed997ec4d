"""`make demo`: bakes the default answers, and follows two messages through the service, without any broker.

Without make, on Windows too: `uv run --no-project --with cookiecutter python -m scripts.demo`. Exit code 0 means that
every step was seen to happen.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from scripts.export import export

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "demo"
PROJECT = OUT / "queue-service"
KEY = "demo-key"
PATIENCE = 30.0
WINDOWS = os.name == "nt"

HANDLER = '''"""Handlers of the queue user_channel, as somebody might fill them in."""

import logging
from typing import Literal

from pydantic import BaseModel

from app.queue.handling import current_delivery

logger = logging.getLogger(__name__)


class SendAudioMessage(BaseModel):
    """Audio for one user."""

    type: Literal["send_audio"] = "send_audio"
    user_id: int
    content: str


class UserHandler:
    """Notifies users. Its player is broken for the first five calls that need it."""

    def __init__(self) -> None:
        self.breakdowns = 5

    async def send_audio(self, message: SendAudioMessage) -> None:
        """Send audio to a user."""
        if message.content == "long_audio" and self.breakdowns > 0:
            self.breakdowns -= 1
            raise ConnectionError("the player is broken")
        logger.info("sent %s to user %d (attempt %d)", message.content, message.user_id, current_delivery().attempt)
'''


def main() -> int:
    """Run the steps. Returns the exit code."""
    started = time.monotonic()
    step("Baking the default answers into build/demo")
    shutil.rmtree(OUT, ignore_errors=True)
    template = export(ROOT / "build" / "template")
    run([sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", OUT, template], quiet=True)
    step("Installing it (the downloads)")
    run([os.environ.get("UV", "uv"), "sync", "--dev"], cwd=PROJECT, quiet=True)  # make setup
    step("Filling in the handler: one kind of audio fails five times")
    (PROJECT / "app/queue/handlers/user_channel.py").write_text(HANDLER, encoding="utf-8")
    change_queues_yaml()
    step("Starting the service: QUEUE_PROVIDER=memory, so there is no broker")
    with Service() as service:
        service.wait_until_ready()
        step("Publishing the message of the documentation over HTTP")
        service.publish({"type": "send_audio", "user_id": 123, "content": "audio_data"})
        service.see("sent audio_data to user 123 (attempt 1)")
        step("Publishing one that fails: its retries wait longer and longer, then it goes to dlq_user_channel")
        service.publish({"type": "send_audio", "user_id": 124, "content": "long_audio"})
        for attempt in range(1, 5):
            service.see(f"the player is broken (attempt {attempt}, again in")
        service.see("the player is broken (exhausted: to the DLQ)")
        step("The next pass over the DLQ sends it back, and by now the player works")
        service.see("DLQ pass: 1 sent back, 0 parked")
        service.see("sent long_audio to user 124 (attempt 1)")
        step("GET /health/queue")
        print(json.dumps(service.get("/health/queue"), indent=2), flush=True)
        step("Stopping it" if WINDOWS else "Stopping it by SIGTERM: it drains, and ends")
        service.stop()
    step(f"All of it happened, in {time.monotonic() - started:.0f} s. The project is in build/demo/queue-service.")
    return 0


class Service:
    """The service's process, and what it says."""

    def __init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        port = self.url.rpartition(":")[2]
        self.process = subprocess.Popen(
            [PROJECT / (".venv/Scripts/python.exe" if WINDOWS else ".venv/bin/python"), "-m", "app"],
            cwd=PROJECT,
            env={**os.environ, "QUEUE_PROVIDER": "memory", "API_KEY": KEY, "PORT": port, "LOG_LEVEL": "INFO"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip())

    def wait_until_ready(self) -> None:
        """Until /health/ready answers 200."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get("/health/ready")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
            else:
                return
        fail("the service did not become ready", self.lines)

    def see(self, text: str) -> None:
        """Show the service's log up to the line that holds `text`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                line = self.lines.get(timeout=1)
            except queue.Empty:
                continue
            if "app.queue." in line:
                print(f"    | {line.partition(' app.queue.')[2]}", flush=True)
            if text in line:
                return
        fail(f"the service never said {text!r}", self.lines)

    def publish(self, message: dict[str, object]) -> None:
        """POST the message, and show the answer."""
        body = json.dumps(message)
        print(f"    POST /queues/user_channel/messages {body}")
        request = urllib.request.Request(
            f"{self.url}/queues/user_channel/messages", body.encode(), {"X-API-Key": KEY}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            print(f"    {answer.status} {answer.read().decode()}", flush=True)

    def get(self, path: str) -> object:
        """The decoded answer."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """SIGTERM, and wait for the end. Windows has no such signal, and ends the process by force."""
        self.process.terminate()
        try:
            code = self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            fail("the service did not end on SIGTERM", self.lines)
        if code not in (0, 1 if WINDOWS else -signal.SIGTERM):
            fail(f"the service ended with {code}", self.lines)
        print("    ended")


def change_queues_yaml() -> None:
    """Short delays, so that nobody has to wait."""
    file = PROJECT / "queues.yaml"
    text = file.read_text(encoding="utf-8")
    for old, new in (
        ("max_attempts: 5", "max_attempts: 5\n      initial_delay: 0.2"),
        ("interval: 300", "interval: 4"),
    ):
        if old not in text:
            fail(f"queues.yaml has no {old!r}")
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    print("    queues.yaml: retry.initial_delay: 0.2, dlq.retry_interval: 4 (seconds)", flush=True)


def run(command: list[str | Path], *, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Run a command; its output is shown if it fails."""
    output = subprocess.PIPE if quiet else None
    done = subprocess.run(command, cwd=cwd, stdout=output, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(map(str, command))} failed:\n{done.stdout or ''}")


def step(text: str) -> None:
    """Announce a step."""
    print(f"\n==> {text}", flush=True)


def fail(text: str, lines: queue.Queue[str] | None = None) -> None:
    """Say what went wrong, and end with exit code 1."""
    while lines is not None and not lines.empty():
        print(f"    | {lines.get()}")
    sys.exit(f"\ndemo: {text}")


if __name__ == "__main__":
    sys.exit(main())
