"""A queue with `type: rabbitmq` where QUEUE_PROVIDER names another provider."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from app.queue.errors import ConfigError
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from core_tests.tools import queues_file
from core_tests.tools.queues_file import Load

queue_yaml = partial(queues_file.queue_yaml, provider="rabbitmq")


def rabbitmq(**keys: Any) -> RabbitMQQueueConfig:
    return RabbitMQQueueConfig(name="q", type="rabbitmq", **keys)


def test_queue_provider_memory_ignores_the_keys_of_the_broker_and_their_missing_variables(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    (queue,) = load(
        queue_yaml(
            "broker_url: ${QUEUE_TEST_UNSET}",
            "password: ${QUEUE_TEST_UNSET}",
            "ssl_context: {cafile: /nowhere.pem}",
            "prefetch: 7",
            "retry: {max_attempts: 2}",
        )
    ).queues
    assert (queue.name, queue.type, queue.prefetch, queue.retry.max_attempts) == ("my_queue", "memory", 7, 2)
    assert not isinstance(queue, RabbitMQQueueConfig)


@pytest.mark.parametrize(
    "lines",
    [
        ["prefetc: 2"],
        ["prefetc: 2", "port: ${QUEUE_TEST_UNSET}"],
        ["prefetc: 2", "broker_url: ${QUEUE_TEST_UNSET:-amqp://localhost}"],
    ],
)
def test_queue_provider_memory_refuses_unknown_keys_all_the_same_and_complains_of_nothing_else(
    load: Load, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert str(caught.value).endswith("queue 'my_queue': key 'prefetc': unknown key; did you mean 'prefetch'?")


def test_queue_provider_memory_checks_the_keys_that_it_uses(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    with pytest.raises(ConfigError, match="queue 'my_queue': key 'prefetch'"):
        load(queue_yaml("prefetch: lots"))
    with pytest.raises(ConfigError, match="key 'prefetch': environment variable QUEUE_TEST_UNSET is not set"):
        load(queue_yaml("prefetch: ${QUEUE_TEST_UNSET}"))
