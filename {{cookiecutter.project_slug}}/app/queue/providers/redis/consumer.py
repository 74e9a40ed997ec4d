# The template's: an update changes it. Which files are yours: README.md.
"""RedisConsumer: reads the queue's stream, `prefetch` in flight at most."""

from __future__ import annotations

from app.queue.broker.consumer import PolledConsumer
from app.queue.interfaces import Dispatcher
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.connection import MasterConnection, RedisConnection, RedisConnectionManager
from app.queue.providers.redis.delayed import Delayed
from app.queue.providers.redis.intake import BLOCK, Intake
from app.queue.providers.redis.leases import RedisLeases
from app.queue.providers.redis.message_handler import RedisMessageHandler
from app.queue.providers.redis.streams import check_delayed, consumer_name, ensure_stream, streams

SILENT_AFTER = 10.0  # seconds after which a read that the server should have answered is not waited for any longer


class RedisConsumer(PolledConsumer[MasterConnection]):
    """Makes the queue and its places, reads the first, and moves what has waited long enough back to it."""

    config: RedisQueueConfig
    pool = RedisConnectionManager

    def __init__(self, queue_name: str, config: RedisQueueConfig, dispatcher: Dispatcher) -> None:
        super().__init__(queue_name, config, dispatcher, processor=RedisMessageHandler(queue_name, config))
        self._name = consumer_name()
        self._reader: RedisConnection | None = None

    async def ensure(self, connection: MasterConnection) -> None:
        for stream in streams(self.config):
            await ensure_stream(connection, stream)
        await check_delayed(connection, self.queue_name)

    async def begin(self, connection: MasterConnection) -> tuple[RedisLeases, Intake]:
        patience = BLOCK + min(2 * self.config.heartbeat, SILENT_AFTER)
        self._reader = RedisConnection(self.config, connection.server, patience)
        await self._reader.open()
        leases = RedisLeases(connection, self.queue_name, self._name, self.config.ack_wait)
        self.beside = Delayed(connection, self.queue_name, leases.retried)
        return leases, Intake(self._reader, leases, self.config.prefetch, self.took, self._on_end)

    async def close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not self.link.is_open:
            reader.lose("closed")  # what was on its way will be read again by whoever comes first, most likely us
        await super().close()
        if reader is not None:
            await reader.close()

    def _on_end(self, why: str) -> None:
        if self._reader is not None and not self._reader.is_open and self.link.is_open:
            # It went to the same server: what has become of that server is for a new connection to find out.
            self.link.connection.lose(why)
        self.link.lose(why)
