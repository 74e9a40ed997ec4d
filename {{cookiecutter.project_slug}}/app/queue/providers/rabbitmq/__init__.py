"""RabbitMQ 3.10 or later, by aio-pika."""

from app.queue.interfaces import Provider
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.consumer import AsyncRabbitMQConsumer
from app.queue.providers.rabbitmq.dead_letter_queue import RabbitMQDeadLetterQueueHandler
from app.queue.providers.rabbitmq.decoding import be_tolerant
from app.queue.providers.rabbitmq.health_check import RabbitMQHealthCheck
from app.queue.providers.rabbitmq.message_handler import RabbitMQMessageHandler
from app.queue.providers.rabbitmq.publisher import AsyncRabbitMQPublisher

be_tolerant()

provider = Provider(
    config=RabbitMQQueueConfig,
    consumer=AsyncRabbitMQConsumer,
    processor=RabbitMQMessageHandler,
    publisher=AsyncRabbitMQPublisher,
    dead_letters=RabbitMQDeadLetterQueueHandler,
    health_check=RabbitMQHealthCheck,
)
