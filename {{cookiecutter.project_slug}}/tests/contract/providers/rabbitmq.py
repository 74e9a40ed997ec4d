"""RabbitMQ, with quorum queues."""

from __future__ import annotations

from app.queue.config import QueueConfig
from tests.contract.claims import Claims
from tests.tools.rabbitmq_node import RabbitMQNode
from tests.tools.rabbitmq_queues import delete_queues


def clean(url: str, config: QueueConfig) -> None:
    delete_queues(url, config.name, config.retry)


CLAIMS = Claims(provider="rabbitmq", clean=clean, node=RabbitMQNode, block=RabbitMQNode.memory_alarm)
