"""The real process: its signals and its exit codes."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx2
import pytest

from app.__main__ import main
from core_tests.tools.process import process, wait_until_answers


def test_ready_says_503_while_draining_before_the_port_closes(tmp_path: Path) -> None:
    yaml = """
queues:
  - {name: user_channel, type: memory, enable_consumer: false}
drain: {delay: 1.5}
"""
    with process(yaml, tmp_path) as (service, url):
        wait_until_answers(service, f"{url}/health/ready", 200)
        service.send_signal(signal.SIGTERM)
        wait_until_answers(service, f"{url}/health/ready", 503)
        assert httpx2.get(f"{url}/health/ready").json() == {"status": "draining"}
        service.communicate(timeout=30)


def test_a_wrong_configuration_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    with process("queues:\n  - {name: q, type: memory, prefetsch: 1}", tmp_path) as (service, _):
        output, _ = service.communicate(timeout=30)
    assert service.returncode == 2
    assert output.startswith("error: ")
    assert "queue 'q': key 'prefetsch': unknown key; did you mean 'prefetch'?" in output
    assert output.count("\n") == 1, output


def test_a_consumed_queue_without_a_handler_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    with process("queues: [{name: nobodys, type: memory}]", tmp_path) as (service, _):
        output, _ = service.communicate(timeout=30)
    assert service.returncode != 0
    assert output.count("nobodys") == 1, output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("yaml", "environment", "said"),
    [
        ("queues: []", {}, "key 'queues' must be a list with at least one queue"),
        ("queues: [{name: q, type: memory, prefetch: '${NOT_SET}'}]", {}, "environment variable NOT_SET is not set"),
        ("queues: [{name: q, type: memory, enable_consumer: false}]", {"QUEUE_ROLE": "boss"}, "QUEUE_ROLE"),
        ("", {"PORT": "abc"}, "environment variable PORT: must be a number from 0 to 65535, not 'abc'"),
        ("", {"PORT": "65536"}, "environment variable PORT"),
        ("", {"LOG_LEVEL": "loud"}, "environment variable LOG_LEVEL: must be one of CRITICAL"),
    ],
)
def test_the_check_before_the_start_sees_the_file_the_variables_and_the_role(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    yaml: str,
    environment: dict[str, str],
    said: str,
) -> None:
    (tmp_path / "queues.yaml").write_text(yaml)
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main() == 2
    assert said in capsys.readouterr().err
