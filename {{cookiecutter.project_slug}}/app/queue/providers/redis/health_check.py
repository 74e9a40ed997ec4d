"""RedisHealthCheck: a round trip over the connection of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.queue.interfaces import QueueHealthCheck
from app.queue.providers.redis.connection import RedisConnectionManager

if TYPE_CHECKING:
    from app.queue.providers.redis.config import RedisQueueConfig


class RedisHealthCheck(QueueHealthCheck):
    """A ping. The connection on which a consumer reads is answered every second, and watched for that."""

    config: RedisQueueConfig

    async def probe(self) -> None:
        await RedisConnectionManager.of(self.config).probe()
