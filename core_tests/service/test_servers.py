"""The application under another server than `python -m app`: its log, and its metrics if it has processes."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import httpx2
import pytest

from app.queue.instrumentation.prometheus import forget_process
from core_tests.tools.process import API_KEY, process, wait_until_answers

UVICORN = ("uvicorn", "app.main:app")
YAML = "queues: [{name: sent_out, type: memory, enable_consumer: false}]"
MESSAGES = 30


def test_under_plain_uvicorn_what_the_service_logs_is_seen(tmp_path: Path) -> None:
    with process(YAML, tmp_path, UVICORN, LOG_LEVEL="debug") as (service, url):
        wait_until_answers(service, f"{url}/health/ready", 200)
        service.send_signal(signal.SIGTERM)
        output, _ = service.communicate(timeout=30)
    assert re.search(r"INFO +app\.queue\.\S+: ", output), output
    assert output.count("Application startup complete") == 1, "nothing is logged twice"


def published(url: str) -> float:
    """What `/metrics` says over a connection of its own, which any of the processes may take."""
    (value,) = re.findall(
        r'^queue_messages_published_total{queue="sent_out"} (\S+)', httpx2.get(url).text, re.MULTILINE
    )
    return float(value)


def test_processes_that_share_a_folder_show_the_metrics_of_all(tmp_path: Path) -> None:
    shared = tmp_path / "metrics"
    shared.mkdir()
    keys = {"API_KEY": API_KEY, "PROMETHEUS_MULTIPROC_DIR": str(shared)}
    with process(YAML, tmp_path, (*UVICORN, "--workers", "2"), **keys) as (service, url):
        wait_until_answers(service, f"{url}/health/ready", 200)
        for _ in range(MESSAGES):
            answer = httpx2.post(
                f"{url}/queues/sent_out/messages", json={"type": "any"}, headers={"X-API-Key": API_KEY}
            )
            assert answer.status_code == 202, answer.text
        assert [published(f"{url}/metrics") for _ in range(MESSAGES)] == [MESSAGES] * MESSAGES
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=30)
    assert list(shared.glob("counter_*")), "what they counted stays in the sums"


def test_what_a_process_holds_is_not_counted_after_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held, counted = (tmp_path / f"{name}_{os.getpid()}.db" for name in ("gauge_livesum", "counter"))
    for file in (held, counted):
        file.touch()
    forget_process()
    assert held.exists(), "metrics are not shared"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    forget_process()
    assert not held.exists()
    assert counted.exists()


@pytest.mark.parametrize("module", [("app",), UVICORN], ids=["python -m app", "uvicorn"])
def test_a_folder_for_metrics_that_is_not_there_is_said_at_the_start(tmp_path: Path, module: tuple[str, ...]) -> None:
    with process(YAML, tmp_path, module, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "nowhere")) as (service, _):
        output, _ = service.communicate(timeout=30)
    assert service.returncode != 0
    assert "environment variable PROMETHEUS_MULTIPROC_DIR: " in output, output
