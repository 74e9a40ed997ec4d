"""What the service does, and says, where there is no RabbitMQ. Needs none."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

import httpx2
import pytest

from app.queue.config import QueuesConfig
from app.queue.errors import QueueError
from app.queue.processor import MessageProcessor
from app.queue.publishing import publish
from app.queue.setup import build_service
from core_tests.tools.example import queue_config
from core_tests.tools.ports import free_port
from core_tests.tools.process import answers, process, wait_until_answers
from core_tests.tools.waiting import eventually


def test_with_no_broker_it_is_alive_and_not_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    yaml = f"""
queues:
  - {{name: nobodys-queue, type: rabbitmq, broker_url: 127.0.0.1, port: {free_port()}, enable_consumer: false}}
drain: {{delay: 0}}
"""
    with process(yaml, tmp_path, API_KEY="k") as (service, url):
        wait_until_answers(service, f"{url}/health/live", 200)
        assert answers(f"{url}/health/ready", 503)
        health = httpx2.get(f"{url}/health/queue")
        assert health.status_code == 503
        assert health.json()["queues"]["nobodys-queue"]["publisher"] == "down"
        assert "RabbitMQ at 127.0.0.1" in health.json()["queues"]["nobodys-queue"]["detail"]
        answer = httpx2.post(
            f"{url}/queues/nobodys-queue/messages",
            json={"type": "send_audio"},
            headers={"X-API-Key": "k", "X-Message-Id": "mine"},
        )
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert (answer.json()["message_id"], answer.json()["may_have_landed"]) == ("mine", False)
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=30)
        assert service.returncode in (0, -signal.SIGTERM)


async def test_the_log_never_holds_a_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    keys = {"broker_url": "amqp://user:s3cret@127.0.0.1:1/vhost", "enable_consumer": False}
    config = QueuesConfig.model_validate({"queues": [queue_config("q", "rabbitmq", **keys)], "drain": {"delay": 0}})
    service = build_service(config, MessageProcessor())
    await service.start()
    with pytest.raises(QueueError) as caught:
        await publish("q", {"type": "x"})
    await eventually(lambda: "trying again" in caplog.text, "the supervisor has said something")
    detail = service.health().model_dump_json()
    await service.stop()
    for text in (caplog.text, str(caught.value), detail, repr(config)):
        assert "s3cret" not in text
