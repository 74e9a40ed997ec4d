"""RedisConsumer: reads the queue's stream, `prefetch` in hand at most."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from app.queue.errors import BrokerError, BrokerUnavailableError
from app.queue.interfaces import QueueConsumer
from app.queue.processor import MessageProcessor
from app.queue.providers.redis.connection import RedisConnection
from app.queue.providers.redis.delayed import Delayed
from app.queue.providers.redis.hand import Hand, Token, to_delivery
from app.queue.providers.redis.intake import BLOCK, Intake
from app.queue.providers.redis.link import RedisLink
from app.queue.providers.redis.messages import to_fields, to_message
from app.queue.providers.redis.streams import consumer_name, ensure_stream, streams

if TYPE_CHECKING:
    from app.queue.providers.redis.config import RedisQueueConfig

SILENT_AFTER = 10.0
"""Seconds after which a read that the server should have answered is not waited for any longer."""


class RedisConsumer(QueueConsumer):
    """Makes the queue and its places, reads the first, and moves what has waited long enough back to it."""

    config: RedisQueueConfig

    def __init__(self, queue_name: str, config: RedisQueueConfig, dispatcher: MessageProcessor) -> None:
        super().__init__(queue_name, config, dispatcher)
        self._link = RedisLink(config)
        self._name = consumer_name()
        self._reader: RedisConnection | None = None
        self._hand: Hand | None = None
        self._intake: Intake | None = None
        self._delayed: Delayed | None = None
        self._held: list[Token] = []
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        if self._link.is_open and self._intake is not None:
            return
        await self._link.open()
        try:
            connection = self._link.connection
            for stream in streams(self.config):
                await ensure_stream(connection, stream)
            patience = BLOCK + min(2 * self.config.heartbeat, SILENT_AFTER)
            self._reader = RedisConnection(connection.server, self.config, patience)
            await self._reader.open()
            hand = self._hand = Hand(connection, self.queue_name, self._name, self.config.ack_wait)
            self._delayed = Delayed(connection, self.queue_name, hand.retried)
            self._intake = Intake(
                *(self._reader, hand, self.config.prefetch, self.config.ack_wait, self._on_entry, self._on_end)
            )
            self._intake.start()
        except BaseException:
            await self.close()
            raise

    async def lost(self) -> str:
        return await self._link.lost()

    async def close(self) -> None:
        # After a loss, handlers go on, and nobody else must have their messages before we have had time to come back.
        leave = self._link.is_open
        delayed, self._delayed = self._delayed, None
        intake, self._intake = self._intake, None
        hand, self._hand = self._hand, None
        reader, self._reader = self._reader, None
        if reader is not None and not leave:
            reader.lose("closed")  # what was on its way will be read again by whoever comes first, most likely us
        if intake is not None:
            await intake.close()
        if reader is not None:
            await reader.close()
        if delayed is not None:
            await delayed.close()
        if self._returning:
            await asyncio.wait(self._returning)
        if hand is not None:
            await hand.close(leave=leave)
        self._held.clear()
        await self._link.close()

    async def start_intake(self) -> None:
        if self._intake is None:
            raise BrokerUnavailableError("not connected to the broker")
        self._intake.start()
        held, self._held = self._held, []
        for token in held:
            self._deliver(token, redelivered=True)

    async def stop_intake(self) -> None:
        if self._intake is not None:
            self._intake.stop()
            await asyncio.sleep(0)  # what came last begins, and is in hand

    @property
    def registered(self) -> bool:
        return self._intake is not None and self._intake.reads and self._link.is_open

    def _on_end(self, why: str) -> None:
        if self._reader is not None and not self._reader.is_open and self._link.is_open:
            # It went to the same server: what has become of that server is for a new connection to find out.
            self._link.connection.lose(why)
        self._link.lose(why)

    def _on_entry(self, token: Token, redelivered: bool) -> None:
        if self.registered:
            self._deliver(token, redelivered=redelivered)
        elif redelivered:
            self._held.append(token)  # that somebody died of it, perhaps, must not be forgotten
        else:
            task = asyncio.create_task(self._return(token))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    def _deliver(self, token: Token, *, redelivered: bool) -> None:
        assert self.on_delivery is not None
        delivery = to_delivery(self.queue_name, token, redelivered=redelivered)
        asyncio.get_running_loop().create_task(self.on_delivery(delivery))

    async def _return(self, token: Token) -> None:
        """What was asked for before the intake stopped goes to the tail: left, it would look like a dead one's."""
        message, _ = to_message(token.entry, token.fields)
        with suppress(BrokerError, TimeoutError):
            async with asyncio.timeout(self.config.publish_timeout):
                await token.hand.hand_over(token, self.queue_name, to_fields(message))
