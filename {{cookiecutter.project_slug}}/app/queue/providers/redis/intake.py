"""Intake: reads a stream for one consumer, and takes over what dead consumers had in hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import redis.exceptions as redis

from app.queue.errors import BrokerError
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.errors import broker_error
from app.queue.providers.redis.hand import Hand, Token
from app.queue.providers.redis.scripts import GROUP

BLOCK = 1.0
"""Seconds for which the server waits for something to answer with. An answer without entries is a sign of life, too."""
CLAIM_EVERY = 5.0
FROM_START = "0-0"


class Intake:
    """Gives each entry that it takes to `on_entry`, with whether somebody had it before; has `limit` in hand at most.

    The client is used for nothing else, since it waits while the server does. If reading fails, `on_end` is called.
    """

    def __init__(
        self,
        client: RedisClient,
        hand: Hand,
        limit: int,
        ack_wait: float,
        on_entry: Callable[[Token, bool], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._client = client
        self._hand = hand
        self._limit = limit
        self._ack_wait = ack_wait
        self._on_entry = on_entry
        self._on_end = on_end
        self._claim_at = 0.0
        self._closing = False
        self._started = asyncio.Event()
        self._reading = asyncio.create_task(self._read_on())

    @property
    def reads(self) -> bool:
        """True while entries are asked for."""
        return self._started.is_set() and not self._reading.done()

    def start(self) -> None:
        """Ask for entries, and go on so."""
        self._started.set()

    def stop(self) -> None:
        """Ask for no more. What was asked for may still come, for up to BLOCK seconds."""
        self._started.clear()

    async def close(self) -> None:
        """End, after what was asked for has come, or is known not to."""
        self.stop()
        self._closing = True
        if self._client.waits_since is not None and self._client.is_open:
            ends: set[asyncio.Future[Any]] = {self._reading, self._client.ended}
            await asyncio.wait(ends, timeout=BLOCK + 1.0, return_when=asyncio.FIRST_COMPLETED)
        self._reading.cancel()
        await asyncio.wait([self._reading])

    async def _read_on(self) -> None:
        try:
            await self._started.wait()
            await self._take_own()
            while not self._closing:
                room = self._limit - len(self._hand)
                if not self._started.is_set():
                    await self._started.wait()
                elif room <= 0:
                    self._hand.room.clear()
                    await self._hand.room.wait()
                elif time.monotonic() >= self._claim_at:
                    await self._claim()
                else:
                    self._take(await self._read(">", room, "BLOCK", round(BLOCK * 1000)))
        except (redis.ResponseError, BrokerError) as error:
            what = f"stream {self._hand.stream!r}"
            self._on_end(str(broker_error(error, what) if isinstance(error, redis.ResponseError) else error))

    async def _take_own(self) -> None:
        """What this consumer had in hand when its link was lost, or was on its way to it."""
        last: str | bytes = FROM_START
        while (room := self._limit - len(self._hand)) > 0:
            entries = await self._read(last, room)
            if not entries:
                return
            last = entries[-1][0]
            for entry, fields in entries:
                if fields is None:  # somebody has deleted it
                    await self._client.call("XACK", self._hand.stream, GROUP, entry)
            self._take(entries, redelivered=True)

    async def _claim(self) -> None:
        cursor: str | bytes = FROM_START
        idle = round(self._ack_wait * 1000)
        while (room := self._limit - len(self._hand)) > 0 and self._started.is_set():
            # Redis looks at ten times as many entries as it may give, and says where to look on.
            answer = await self._client.call(
                "XAUTOCLAIM", self._hand.stream, GROUP, self._hand.name, idle, cursor, "COUNT", room, timeout=None
            )
            cursor = answer[0]
            self._take(entries_of(answer[1]), redelivered=True)
            if cursor == FROM_START.encode():
                break
        self._claim_at = time.monotonic() + min(self._ack_wait / 4, CLAIM_EVERY)

    async def _read(self, after: str | bytes, count: int, *more: str | int) -> list[tuple[bytes, Any]]:
        stream, name = self._hand.stream, self._hand.name
        answer = await self._client.call(
            "XREADGROUP", "GROUP", GROUP, name, "COUNT", count, *more, "STREAMS", stream, after, timeout=None
        )
        return list(entries_of(answer[0][1])) if answer else []

    def _take(
        self, entries: Sequence[tuple[bytes, Any]] | Iterator[tuple[bytes, Any]], *, redelivered: bool = False
    ) -> None:
        for entry, fields in entries:
            if fields is not None and (token := self._hand.take(entry, fields)) is not None:
                self._on_entry(token, redelivered)


def entries_of(answer: Sequence[Any]) -> Iterator[tuple[bytes, Any]]:
    """The ids and fields of the entries in an answer; before Redis 7, what was deleted may be an empty place."""
    return ((entry[0], entry[1]) for entry in answer if entry)
