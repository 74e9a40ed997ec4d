"""The keys of a queue with `type: memory`: none but those of every queue."""

from app.queue.config import QueueConfig


class MemoryQueueConfig(QueueConfig):
    """One queue in this process's memory."""
