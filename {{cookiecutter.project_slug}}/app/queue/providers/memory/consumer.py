"""MemoryConsumer: polls, and is woken when there is something to poll."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from app.queue.config import QueueConfig
from app.queue.interfaces import Delivery, QueueConsumer
from app.queue.processor import MessageProcessor
from app.queue.providers.memory.broker import broker
from app.queue.providers.memory.token import Token


class MemoryConsumer(QueueConsumer):
    """Takes messages while fewer than `prefetch` are in hand."""

    def __init__(self, queue_name: str, config: QueueConfig, dispatcher: MessageProcessor) -> None:
        super().__init__(queue_name, config, dispatcher)
        self._in_hand: set[Token] = set()
        self._polling: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._changing = asyncio.Lock()
        self._unwatch: Callable[[], None] | None = None
        self._closed = asyncio.Event()

    async def open(self) -> None:
        if self._unwatch is None:
            loop = asyncio.get_running_loop()
            self._closed = asyncio.Event()
            broker.declare(self.queue_name)
            self._unwatch = broker.watch(self.queue_name, lambda: _wake_on(loop, self._wake))
            await self.start_intake()

    async def lost(self) -> str:
        await self._closed.wait()
        return "closed"

    async def close(self) -> None:
        await self.stop_intake()
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        for token in list(self._in_hand):
            token.put_back()
        self._closed.set()

    async def start_intake(self) -> None:
        async with self._changing:
            if self._polling is None:
                self._polling = asyncio.create_task(self._poll())

    async def stop_intake(self) -> None:
        async with self._changing:
            polling, self._polling = self._polling, None
            if polling is not None:
                polling.cancel()
                await asyncio.wait([polling])

    @property
    def registered(self) -> bool:
        return self._polling is not None and not self._polling.done()

    async def _poll(self) -> None:
        assert self.on_delivery is not None
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while len(self._in_hand) < self.config.prefetch and (taken := broker.take(self.queue_name)) is not None:
                message, redelivered = taken
                token = Token(self.queue_name, message, self._in_hand, self._wake)
                delivery = Delivery(self.queue_name, message, redelivered, token, message.message_id)
                loop.create_task(self.on_delivery(delivery))  # noqa: RUF006 - the worker keeps hold of it
            full = len(self._in_hand) >= self.config.prefetch
            with suppress(TimeoutError):
                async with asyncio.timeout(None if full else broker.next_due(self.queue_name)):
                    await self._wake.wait()


def _wake_on(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(event.set)
