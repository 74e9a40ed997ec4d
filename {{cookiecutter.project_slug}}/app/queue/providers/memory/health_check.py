"""MemoryHealthCheck: there is nothing that could be away."""

from app.queue.interfaces import QueueHealthCheck


class MemoryHealthCheck(QueueHealthCheck):
    """Always well."""

    async def probe(self) -> None:
        """Nothing to ask."""
