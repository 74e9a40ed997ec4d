"""NATS JetStream, server 2.9 or later, by nats-py."""

from app.queue.interfaces import Provider
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.consumer import NatsConsumer
from app.queue.providers.nats.dead_letter_queue import NatsDeadLetterQueueHandler
from app.queue.providers.nats.health_check import NatsHealthCheck
from app.queue.providers.nats.message_handler import NatsMessageHandler
from app.queue.providers.nats.publisher import NatsPublisher

provider = Provider(
    config=NatsQueueConfig,
    consumer=NatsConsumer,
    processor=NatsMessageHandler,
    publisher=NatsPublisher,
    dead_letters=NatsDeadLetterQueueHandler,
    health_check=NatsHealthCheck,
)
