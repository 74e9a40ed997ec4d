# The template's: an update changes it. Which files are yours: README.md.
"""RabbitMQ 3.10 or later, by aio-pika."""

from app.queue.interfaces import Claims, Provider
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import RabbitMQHealthCheck
from app.queue.providers.rabbitmq.consumer import AsyncRabbitMQConsumer
from app.queue.providers.rabbitmq.dead_letter_queue import RabbitMQDeadLetterQueueHandler
from app.queue.providers.rabbitmq.decoding import be_tolerant
from app.queue.providers.rabbitmq.frames import read_fast
from app.queue.providers.rabbitmq.message_handler import RabbitMQMessageHandler
from app.queue.providers.rabbitmq.publisher import AsyncRabbitMQPublisher

be_tolerant()
read_fast()

provider = Provider(
    *(RabbitMQQueueConfig, AsyncRabbitMQConsumer, RabbitMQMessageHandler, AsyncRabbitMQPublisher),
    *(RabbitMQDeadLetterQueueHandler, RabbitMQHealthCheck),
    claims=Claims(confirms_acks=False),
)
