"""Redis Streams, server 6.2 or later, by redis-py."""

from app.queue.interfaces import Provider
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.consumer import RedisConsumer
from app.queue.providers.redis.dead_letter_queue import RedisDeadLetterQueueHandler
from app.queue.providers.redis.health_check import RedisHealthCheck
from app.queue.providers.redis.message_handler import RedisMessageHandler
from app.queue.providers.redis.publisher import RedisPublisher

provider = Provider(
    config=RedisQueueConfig,
    consumer=RedisConsumer,
    processor=RedisMessageHandler,
    publisher=RedisPublisher,
    dead_letters=RedisDeadLetterQueueHandler,
    health_check=RedisHealthCheck,
)
