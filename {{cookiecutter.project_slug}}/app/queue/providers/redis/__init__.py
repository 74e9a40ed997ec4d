# The template's: an update changes it. Which files are yours: README.md.
"""Redis Streams, server 6.2 or later, by redis-py."""

from app.queue.interfaces import Claims, Provider
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.connection import RedisHealthCheck
from app.queue.providers.redis.consumer import RedisConsumer
from app.queue.providers.redis.dead_letter_queue import RedisDeadLetterQueueHandler
from app.queue.providers.redis.message_handler import RedisMessageHandler
from app.queue.providers.redis.publisher import RedisPublisher

provider = Provider(
    *(RedisQueueConfig, RedisConsumer, RedisMessageHandler, RedisPublisher),
    *(RedisDeadLetterQueueHandler, RedisHealthCheck),
    claims=Claims(knows_holder=True, moves_in_one_step=True),
)
