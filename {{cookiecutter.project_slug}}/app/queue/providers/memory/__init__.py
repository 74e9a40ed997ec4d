"""The embedded provider: no broker at all, the messages live in this process and die with it."""

from app.queue.interfaces import Provider
from app.queue.providers.memory.config import MemoryQueueConfig
from app.queue.providers.memory.consumer import MemoryConsumer
from app.queue.providers.memory.dead_letter_queue import MemoryDeadLetterQueueHandler
from app.queue.providers.memory.health_check import MemoryHealthCheck
from app.queue.providers.memory.message_handler import MemoryMessageHandler
from app.queue.providers.memory.publisher import MemoryPublisher

provider = Provider(
    config=MemoryQueueConfig,
    consumer=MemoryConsumer,
    processor=MemoryMessageHandler,
    publisher=MemoryPublisher,
    dead_letters=MemoryDeadLetterQueueHandler,
    health_check=MemoryHealthCheck,
    in_process=True,
)
