"""`python -m app.queue.dlq`, on a real broker."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.queue import dlq
from app.queue.handling import Reject
from app.queue.publishing import publish
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from core_tests.tools.places import dlq_name
from core_tests.tools.project import project
from core_tests.tools.rabbitmq_queues import depth, drain
from core_tests.tools.rabbitmq_queues import publish as publish_raw
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


def reject(_: SendAudioMessage) -> None:
    raise Reject("the \x1b[31mred\x1b[0m account is closed")


@pytest.fixture
def queues_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue_name: str, rabbitmq_url: str) -> Path:
    """A file with a queue at the broker, an embedded one, and one without a DLQ."""
    file = tmp_path / "queues.yaml"
    broker = {"type": "rabbitmq", "broker_url": rabbitmq_url, "dlq": {"retry_interval": 0}}
    queues = [
        {"name": queue_name, **broker},
        {"name": "embedded", "type": "memory"},
        {"name": "none", **broker, "enable_dlq": False},
    ]
    file.write_text(yaml.safe_dump({"queues": queues}))
    monkeypatch.setenv("QUEUES_FILE", str(file))
    return file


async def dead_letters(name: str, url: str, count: int = 3) -> list[str]:
    """Reject some messages. Returns their ids."""
    config: Any = queue_config(name, "rabbitmq", broker_url=url)
    async with running((config, UserHandler(reject))):
        ids = [await publish(name, audio(number)) for number in range(count)]
        await eventually(lambda: depth(url, dlq_name(name)) == count, "they are dead-lettered")
    return ids


async def run(*arguments: str) -> int:
    """The command, in a thread: it has an event loop of its own."""
    return await asyncio.to_thread(dlq.main, arguments)


@pytest.mark.usefixtures("queues_yaml")
async def test_it_counts_and_shows_and_changes_nothing(
    queue_name: str, rabbitmq_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = await dead_letters(queue_name, rabbitmq_url)
    assert await run() == 0
    counted = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in counted[:2]] == [[f"dlq_{queue_name}", "3"], [f"parked_{queue_name}", "0"]]
    assert "embedded: only the process of its service" in counted[2]
    assert "enable_dlq: false" in counted[3]
    for _ in range(2):
        assert await run(queue_name) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"dlq_{queue_name}: 3 messages\n")
        assert sorted(ids, key=shown.index) == ids
        assert shown.count("rejected, 1 attempts, first 20") == 3
        assert r"app.queue.handling.Reject: the \x1b[31mred\x1b[0m account is closed" in shown
        assert '"user_id":2' in shown
    assert await run(queue_name, "--limit", "1", "--full") == 0
    assert "| Traceback (most recent call last):" in capsys.readouterr().out
    assert depth(rabbitmq_url, dlq_name(queue_name)) == 3


@pytest.mark.usefixtures("queues_yaml")
async def test_it_says_what_a_body_is_compressed_with_and_sends_it_back_as_it_is(
    queue_name: str, rabbitmq_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = gzip.compress(json.dumps({"type": "other"}).encode())
    async with running((queue_config(queue_name, "rabbitmq", broker_url=rabbitmq_url), UserHandler())):
        publish_raw(rabbitmq_url, queue_name, body, content_encoding="gzip")
        await eventually(lambda: depth(rabbitmq_url, dlq_name(queue_name)) == 1, "it is dead-lettered")
    assert await run(queue_name) == 0
    assert "unknown_type" in (shown := capsys.readouterr().out)
    assert "\n  content encoding: gzip\n" in shown
    assert await run(queue_name, "--replay") == 0
    ((properties, sent),) = drain(rabbitmq_url, queue_name)
    assert (properties.content_encoding, properties.headers["queue-moves"], sent) == ("gzip", 2, body)


@pytest.mark.usefixtures("queues_yaml")
async def test_it_sends_all_back_with_fresh_attempts(
    queue_name: str, rabbitmq_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = await dead_letters(queue_name, rabbitmq_url)
    assert await run(queue_name, "--replay") == 0
    assert f"3 sent from dlq_{queue_name} back to {queue_name}" in capsys.readouterr().out
    back = drain(rabbitmq_url, queue_name)
    assert [properties.message_id for properties, _ in back] == ids
    ours = {name for properties, _ in back for name in properties.headers or {} if name.startswith(("dlq-", "queue-"))}
    assert ours == {"queue-moves"}
    assert depth(rabbitmq_url, dlq_name(queue_name)) == 0


@pytest.mark.usefixtures("queues_yaml")
async def test_a_limit_holds_for_what_is_sent_back_too(
    queue_name: str, rabbitmq_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = await dead_letters(queue_name, rabbitmq_url)
    assert await run(queue_name, "--replay", "--limit", "1") == 0
    assert f"1 sent from dlq_{queue_name} back to {queue_name}" in capsys.readouterr().out
    assert [properties.message_id for properties, _ in drain(rabbitmq_url, queue_name)] == ids[:1]
    assert depth(rabbitmq_url, dlq_name(queue_name)) == 2


@pytest.mark.usefixtures("queues_yaml")
async def test_a_reader_that_has_seen_enough_ends_it_in_peace(queue_name: str, rabbitmq_url: str) -> None:
    await dead_letters(queue_name, rabbitmq_url)
    read, write = os.pipe()
    os.close(read)  # as `head -1` does
    command = [sys.executable, "-m", "app.queue.dlq", queue_name]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=project(), stdout=write, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("queues_yaml")
async def test_a_replay_from_a_queue_that_is_not_there_is_one_line(
    queue_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(queue_name, "--replay") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "NOT_FOUND" in err


@pytest.mark.parametrize("limit", ["-1", "all"])
async def test_a_limit_that_is_no_number_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        dlq.main(["q", "--replay", f"--limit={limit}"])
    assert caught.value.code == 2
    assert f"must be a number of messages, not '{limit}'" in capsys.readouterr().err


@pytest.mark.usefixtures("queues_yaml")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nobody"], 2, "no queue 'nobody'; there are "),
        (["embedded"], 2, "only the process of its service can see its messages"),
        (["none", "--replay"], 2, "queue 'none' has enable_dlq: false"),
    ],
)
async def test_what_is_not_there_is_said(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(*arguments) == code
    assert said in capsys.readouterr().err


@pytest.fixture
def no_broker(queues_yaml: Path, queue_name: str) -> None:
    """The file names a port where nobody listens."""
    broker = {"type": "rabbitmq", "broker_url": "amqp://guest:secret@127.0.0.1:1/"}
    queues_yaml.write_text(yaml.safe_dump({"queues": [{"name": queue_name, **broker}]}))


@pytest.mark.usefixtures("no_broker")
async def test_a_broker_that_is_away_is_one_line_and_exit_code_1(
    queue_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(queue_name) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "secret" not in said
