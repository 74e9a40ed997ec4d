"""The queues that a queue with `type: rabbitmq` needs at the broker."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from app.queue.errors import ConfigError
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.topology import publishing_spec, queue_specs
from core_tests.tools import queues_file
from core_tests.tools.places import dlq_name, parked_name, quarantine_name
from core_tests.tools.queues_file import Load

queue_yaml = partial(queues_file.queue_yaml, provider="rabbitmq")


def rabbitmq(**keys: Any) -> RabbitMQQueueConfig:
    return RabbitMQQueueConfig(name="q", type="rabbitmq", **keys)


def test_a_queue_has_a_dlq_a_parking_queue_and_a_wait_queue_for_every_delay() -> None:
    specs = list(queue_specs(rabbitmq(retry={"max_attempts": 4, "initial_delay": 0.5})))
    waits = ["retry_q_500", "retry_q_1000", "retry_q_2000"]
    assert [spec.name for spec in specs] == ["q", "dlq_q", "quarantine_q", "parked_q", *waits]
    assert [spec.arguments["x-message-ttl"] for spec in specs[4:]] == [500, 1000, 2000]


def test_a_queue_without_dlq_has_neither_a_dlq_nor_a_parking_queue() -> None:
    names = [spec.name for spec in queue_specs(rabbitmq(enable_dlq=False, retry={"max_attempts": 1}))]
    assert names == ["q", "quarantine_q", "retry_q_1000"]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_the_arguments_of_what_keeps_messages_depend_on_the_queue_type_alone(queue_type: str) -> None:
    one = rabbitmq(queue_type=queue_type)
    other = rabbitmq(queue_type=queue_type, prefetch=1, max_message_bytes=5, retry={"max_attempts": 2}, heartbeat=99)
    kept = {spec.name: spec.arguments for spec in queue_specs(one) if not spec.name.startswith("retry_")}
    assert kept.keys() == {"q", dlq_name("q"), parked_name("q"), quarantine_name("q")}
    assert {spec.name: spec.arguments for spec in queue_specs(other) if spec.name in kept} == kept
    assert {arguments["x-queue-type"] for arguments in kept.values()} == {queue_type}
    assert publishing_spec(one, "q").arguments == kept["q"]


def test_no_delivery_limit_can_lose_a_message_of_a_quorum_queue() -> None:
    kept = [spec for spec in queue_specs(rabbitmq()) if not spec.name.startswith("retry_")]
    assert len(kept) == 4
    assert all(spec.arguments["x-delivery-limit"] >= 1_000_000 for spec in kept)


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_a_wait_queue_hands_its_messages_back_safely_whatever_the_queue_type(queue_type: str) -> None:
    waits = [spec for spec in queue_specs(rabbitmq(queue_type=queue_type)) if spec.name.startswith("retry_")]
    assert len(waits) == 4
    for spec in waits:
        assert (
            spec.arguments.items()
            >= {
                "x-queue-type": "quorum",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "q",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }.items()
        )
        assert "x-expires" not in spec.arguments
        assert {name for name in spec.arguments if spec.rules[name].fine("another", {})} == set()


def test_more_delays_than_there_may_be_wait_queues_are_refused(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml("retry: {max_attempts: 100, multiplier: 1.01}"))
    parts = ["queue 'my_queue': key 'retry'", "99 different delays", "at most 32", "lower max_attempts or max_delay"]
    assert [part for part in parts if part not in str(caught.value)] == [], caught.value
