"""NatsDeadLetterQueueHandler: reads `dlq_<queue>`, or another place, one message at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.queue.interfaces import DeadLetterQueueHandler, Delivery, Place
from app.queue.providers.nats.errors import translated
from app.queue.providers.nats.link import NatsLink
from app.queue.providers.nats.pull import Pull, to_delivery
from app.queue.providers.nats.streams import CONSUMER, ensure_consumer, ensure_stream, stream_name, subject

if TYPE_CHECKING:
    from app.queue.providers.nats.config import NatsQueueConfig


class NatsDeadLetterQueueHandler(DeadLetterQueueHandler):
    """Asks for one message, that is there now or not."""

    config: NatsQueueConfig

    def __init__(self, queue_name: str, config: NatsQueueConfig, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config, place)
        self._subject = subject(queue_name, place)
        self._link = NatsLink(config)
        self._pull: Pull | None = None

    async def depth(self) -> int:
        await self._open()
        stream = stream_name(self._subject)
        with translated(f"stream {stream!r}"):
            info = await self._link.connection.jetstream.consumer_info(stream, CONSUMER)
        # Not the stream's own count: a server that was killed may find acked messages again, which nobody gets.
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def take(self) -> Delivery | None:
        await self._open()
        assert self._pull is not None
        token = await self._pull.take()
        return None if token is None else to_delivery(self.queue_name, token)

    async def close(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            await pull.close()
        await self._link.close()

    async def _open(self) -> None:
        if self._pull is not None and self._link.is_open:
            return
        await self.close()
        await self._link.open()
        connection = self._link.connection
        await ensure_stream(connection, self.config, self._subject)
        await ensure_consumer(connection, self.config, self._subject)
        self._pull = Pull(connection, stream_name(self._subject), 1, self.config.ack_wait)
