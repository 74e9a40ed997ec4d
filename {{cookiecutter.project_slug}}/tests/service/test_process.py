"""The real process: its signals and its exit codes."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx2
import pytest

from tests.tools.process import process, wait_until_answers


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
        ("queues:\n  - {name: q, type: memory, prefetsch: 1}", {}, "did you mean 'prefetch'?"),
        (
            "queues:\n  - {name: q, type: memory, prefetch: '${NOT_SET}'}",
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
