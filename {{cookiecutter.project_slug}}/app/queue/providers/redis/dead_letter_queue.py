"""RedisDeadLetterQueueHandler: reads `dlq_<queue>`, or another place, one message at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from app.queue.errors import BrokerError
from app.queue.interfaces import DeadLetterQueueHandler, Delivery, Place
from app.queue.providers.redis.errors import translated
from app.queue.providers.redis.hand import Hand, to_delivery
from app.queue.providers.redis.intake import FROM_START, entries_of
from app.queue.providers.redis.link import RedisLink
from app.queue.providers.redis.scripts import GROUP
from app.queue.providers.redis.streams import consumer_name, ensure_stream, key

if TYPE_CHECKING:
    from app.queue.providers.redis.config import RedisQueueConfig


class RedisDeadLetterQueueHandler(DeadLetterQueueHandler):
    """Asks for one message, that is there now or not: first for one that a dead reader had in hand."""

    config: RedisQueueConfig

    def __init__(self, queue_name: str, config: RedisQueueConfig, place: Place = Place.DLQ) -> None:
        super().__init__(queue_name, config, place)
        self._stream = key(queue_name, place)
        self._link = RedisLink(config)
        self._hand: Hand | None = None

    async def depth(self) -> int:
        await self._open()
        with self._asking():
            count: int = await self._link.connection.call("XLEN", self._stream)
        return count

    async def take(self) -> Delivery | None:
        hand = await self._open()
        call = self._link.connection.call
        with self._asking():
            cursor, idle = FROM_START, round(self.config.ack_wait * 1000)
            while True:
                answer = await call("XAUTOCLAIM", self._stream, GROUP, hand.name, idle, cursor, "COUNT", 1)
                if (delivery := self._taken(hand, answer[1], redelivered=True)) is not None:
                    return delivery
                cursor = answer[0].decode()
                if cursor == FROM_START:
                    break
            answer = await call("XREADGROUP", "GROUP", GROUP, hand.name, "COUNT", 1, "STREAMS", self._stream, ">")
            return self._taken(hand, answer[0][1], redelivered=False) if answer else None

    async def close(self) -> None:
        hand, self._hand = self._hand, None
        if hand is not None:
            await hand.close(leave=True)
        await self._link.close()

    async def _open(self) -> Hand:
        if self._hand is not None and self._link.is_open:
            return self._hand
        await self.close()
        await self._link.open()
        await ensure_stream(self._link.connection, self._stream)
        self._hand = Hand(self._link.connection, self._stream, consumer_name(), self.config.ack_wait)
        return self._hand

    def _taken(self, hand: Hand, answer: Sequence[Any], *, redelivered: bool) -> Delivery | None:
        for entry, fields in entries_of(answer):
            if (token := hand.take(entry, fields)) is not None:
                return to_delivery(self.queue_name, token, redelivered=redelivered)
        return None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """An error ends the link, so that the next call sees to it that the stream is there."""
        try:
            with translated(f"stream {self._stream!r}"):
                yield
        except BrokerError as error:
            self._link.lose(str(error))
            raise
