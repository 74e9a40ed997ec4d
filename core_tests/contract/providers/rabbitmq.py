"""RabbitMQ, with quorum queues."""

from __future__ import annotations

from app.queue.config import QueueConfig
from core_tests.contract.claims import Candidate
from core_tests.tools.rabbitmq_node import RabbitMQNode
from core_tests.tools.rabbitmq_queues import delete_queues


def clean(url: str, config: QueueConfig) -> None:
    delete_queues(url, config.name, config.retry)


CANDIDATE = Candidate(
    provider="rabbitmq",
    clean=clean,
    node=RabbitMQNode,
    hasty={"heartbeat": 1},
    block=RabbitMQNode.memory_alarm,
    reasons={
        "confirms_acks": "AMQP confirms what is published, and no ack",
        "drops_repeats": "a queue keeps whatever is published",
        "moves_in_one_step": "the publish and the ack are two requests, on two connections",
        "knows_holder": "a message says that somebody had it, and not who",
    },
)
