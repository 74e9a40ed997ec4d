# The template's: an update changes it. Which files are yours: README.md.
"""The embedded provider: no broker at all, the messages live in this process and die with it."""

from app.queue.interfaces import Claims, Provider
from app.queue.providers.memory import parts
from app.queue.settings.queues import QueueConfig

provider = Provider(
    *(QueueConfig, parts.MemoryConsumer, parts.MemoryMessageHandler, parts.MemoryPublisher),
    *(parts.MemoryDeadLetterQueueHandler, parts.MemoryHealthCheck),
    claims=Claims(knows_holder=True, outlives_process=False, outlives_broker=False, says_blocked=False),
)
