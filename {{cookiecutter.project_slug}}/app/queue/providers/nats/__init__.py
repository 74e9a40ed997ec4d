# The template's: an update changes it. Which files are yours: README.md.
"""NATS JetStream, server 2.9 or later, by nats-py."""

from app.queue.interfaces import Claims, Provider
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.connection import NatsHealthCheck
from app.queue.providers.nats.consumer import NatsConsumer
from app.queue.providers.nats.dead_letter_queue import NatsDeadLetterQueueHandler
from app.queue.providers.nats.message_handler import NatsMessageHandler
from app.queue.providers.nats.publisher import NatsPublisher

provider = Provider(
    *(NatsQueueConfig, NatsConsumer, NatsMessageHandler, NatsPublisher),
    *(NatsDeadLetterQueueHandler, NatsHealthCheck),
    claims=Claims(drops_repeats=True),
)
