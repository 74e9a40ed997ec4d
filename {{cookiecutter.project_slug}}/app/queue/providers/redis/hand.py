"""Hand: what one consumer has taken from one stream, and has neither settled nor left to others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import redis.exceptions as redis

from app.queue.errors import BrokerError, DeliveryLostError
from app.queue.interfaces import Delivery
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.errors import settling, translated
from app.queue.providers.redis.messages import to_message
from app.queue.providers.redis.scripts import ACK, HAND_OVER, KEEP, RELEASE

logger = logging.getLogger(__name__)

AT_A_TIME = 500
"""Entries in one script at most: Redis does nothing else meanwhile."""
KEEP_EVERY = 5.0
CLOSE_TIMEOUT = 1.0
LOOKS_IDLE = 86_400_000
"""Milliseconds for which what is left to others looks idle: longer than any `ack_wait`."""


@dataclass(slots=True, eq=False)
class Token:
    """A message in hand."""

    entry: bytes
    fields: Sequence[bytes]
    hand: Hand
    since: float

    def check(self) -> None:
        """Raise DeliveryLostError if it can't be settled any more."""
        if not self.hand.has(self):
            raise DeliveryLostError("the delivery's link is gone, or another instance has the message now")


class Hand:
    """Settles what is in it, and says of what has long been in it that we are at it."""

    def __init__(self, client: RedisClient, stream: str, name: str, ack_wait: float) -> None:
        self.stream = stream
        self.name = name
        self.room = asyncio.Event()
        """Set whenever something has left the hand."""
        self.retried = asyncio.Event()
        """Set whenever something was put among the delayed."""
        self._client = client
        self._ack_wait = ack_wait
        self._tokens: dict[bytes, Token] = {}
        self._to_ack: list[tuple[Token, asyncio.Future[None]]] = []
        self._acking: asyncio.Task[None] | None = None
        self._under_way = 0
        self._settled = asyncio.Event()
        self._keeping = asyncio.create_task(self._keep_on())

    def __len__(self) -> int:
        return len(self._tokens)

    def has(self, token: Token) -> bool:
        """True while the token can be settled."""
        return self._tokens.get(token.entry) is token and self._client.is_open

    def take(self, entry: bytes, fields: Sequence[bytes]) -> Token | None:
        """Have one in hand; None if it is there already: this loop was blocked, and could not say that we are at it."""
        if entry in self._tokens:
            return None
        token = self._tokens[entry] = Token(entry, fields, self, time.monotonic())
        return token

    async def ack(self, token: Token) -> None:
        """Return when the server has forgotten the message. Raises BrokerError."""
        token.check()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._to_ack.append((token, done))
        if self._acking is None:
            self._acking = asyncio.create_task(self._ack_all())
        await done

    async def hand_over(self, token: Token, target: str, fields: Sequence[bytes], delay: float | None = None) -> None:
        """Put a message into a stream, or among the delayed for so many seconds, and forget the token's."""
        token.check()
        for_how_long = "" if delay is None else round(delay * 1000)
        self._under_way += 1
        try:
            with settling(f"key {target!r}"):
                arguments = [self.name, token.entry, for_how_long, *fields]
                moved = await self._client.run(HAND_OVER, [self.stream, target], arguments, timeout=None)
        except DeliveryLostError:
            self._let_go(token)
            raise
        finally:
            self._under_way -= 1
            self._settled.set()
        self._let_go(token)
        if not moved:
            raise DeliveryLostError("another instance has the message now")
        if delay is not None:
            self.retried.set()

    async def close(self, *, leave: bool) -> None:
        """Have nothing in hand any more. If `leave`, others may take it at once, and otherwise after `ack_wait`."""
        self._keeping.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while self._client.is_open and (self._acking is not None or self._under_way):
                    self._settled.clear()
                    await self._settled.wait()
        if self._acking is not None:
            self._acking.cancel()
        self._tokens.clear()
        self.room.set()
        if leave and self._client.is_open:
            with suppress(BrokerError), translated("closing"):
                await self._client.run(RELEASE, [self.stream], [self.name, LOOKS_IDLE], timeout=CLOSE_TIMEOUT)

    def _let_go(self, token: Token) -> None:
        if self._tokens.get(token.entry) is token:
            del self._tokens[token.entry]
            self.room.set()

    async def _ack_all(self) -> None:
        """One script for all acks that wait: while it runs, the next ones gather."""
        try:
            while self._to_ack:
                together, self._to_ack = self._to_ack[:AT_A_TIME], self._to_ack[AT_A_TIME:]
                try:
                    with settling(f"stream {self.stream!r}"):
                        entries = [token.entry for token, _ in together]
                        acked = await self._client.run(ACK, [self.stream], [self.name, *entries], timeout=None)
                except BrokerError as error:
                    _answer([done for _, done in together], error)
                    continue
                for (token, done), good in zip(together, acked, strict=True):
                    self._let_go(token)
                    _answer([done], None if good else DeliveryLostError("another instance has the message now"))
        finally:
            self._acking = None
            self._settled.set()
            _answer([done for _, done in self._to_ack], DeliveryLostError("the delivery's link is gone"))
            self._to_ack = []

    async def _keep_on(self) -> None:
        turn = min(self._ack_wait / 4, KEEP_EVERY)
        while True:
            await asyncio.sleep(turn)
            old = time.monotonic() - turn
            tokens = [token for token in self._tokens.values() if token.since <= old]
            for start in range(0, len(tokens), AT_A_TIME):
                together = tokens[start : start + AT_A_TIME]
                try:
                    entries = [token.entry for token in together]
                    kept = await self._client.run(KEEP, [self.stream], [self.name, *entries])
                except (BrokerError, redis.ResponseError, TimeoutError) as error:
                    logger.debug("stream %s: can't say that we are at it: %s", self.stream, error)
                    break
                for token, good in zip(together, kept, strict=True):
                    if not good and self.has(token):
                        self._let_go(token)
                        logger.warning(
                            "stream %s: entry %s, which is in hand here, has gone to another instance, since nothing "
                            "was heard of this one for %g s",
                            *(self.stream, token.entry.decode(), self._ack_wait),
                        )


def to_delivery(queue: str, token: Token, *, redelivered: bool) -> Delivery:
    """A message in hand, as the core knows it."""
    message, identity = to_message(token.entry, token.fields)
    return Delivery(queue, message, redelivered, token, identity)


def _answer(waiting: Sequence[asyncio.Future[None]], error: Exception | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
