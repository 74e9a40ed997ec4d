"""Publishes confirmed messages straight to a node, many at a time, through its deaths; knows which it confirmed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Any

import aiormq
import aiormq.abc
from aiormq import spec

WINDOW = 100
TIMEOUT = 20.0
PATIENCE = 180.0
"""Seconds in which all must be confirmed."""


class Sender:
    """Sends JSON messages to one queue. Every try has a fresh id, so that what landed unconfirmed is no duplicate.

    With several URLs, the nodes of a cluster, the next connection is to the next node.

    Attributes:
        confirmed: ids of the messages that the broker has confirmed.
        attempted: all ids.
    """

    def __init__(self, urls: str | Sequence[str], queue: str) -> None:
        self._urls = cycle([urls] if isinstance(urls, str) else urls)
        self._queue = queue
        self.attempted: set[str] = set()
        self.confirmed: set[str] = set()

    def send(self, count: int, rate: float = 1e9, **body: Any) -> set[str]:
        """Return once `count` are confirmed, with their ids; at most `rate` a second."""
        before = set(self.confirmed)
        asyncio.run(self._send(len(before) + count, rate, body))
        return self.confirmed - before

    @contextmanager
    def sending(self, rate: float, **body: Any) -> Iterator[None]:
        """Send at this rate, in a thread, until the end of the block."""
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._send(10**9, rate, body))

        def run() -> None:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)

        thread = threading.Thread(target=run, name="sender", daemon=True)
        thread.start()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(task.cancel)
            thread.join(2 * TIMEOUT)
            loop.close()

    async def _send(self, goal: int, rate: float, body: dict[str, Any]) -> None:
        payload = json.dumps({"type": "work", **body}).encode()
        window = max(1, min(WINDOW, round(rate / 10)))
        deadline = time.monotonic() + PATIENCE
        while len(self.confirmed) < goal:
            assert time.monotonic() < deadline, f"{self._queue}: not confirmed within {PATIENCE:g} s"
            try:
                connection = await asyncio.wait_for(aiormq.connect(next(self._urls)), TIMEOUT)
            except (OSError, RuntimeError, aiormq.AMQPError):
                await asyncio.sleep(0.2)
                continue
            try:
                await self._send_over(connection, goal, window, rate, payload)
            finally:
                with suppress(Exception):
                    await asyncio.wait_for(connection.close(), 2)

    async def _send_over(
        self, connection: aiormq.abc.AbstractConnection, goal: int, window: int, rate: float, payload: bytes
    ) -> None:
        """Send until `goal` messages are confirmed, or the connection is lost."""
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        while (missing := goal - len(self.confirmed)) > 0:
            began = time.monotonic()
            sent = await asyncio.gather(
                *(self._send_one(channel, payload) for _ in range(min(window, missing))), return_exceptions=True
            )
            if any(result is not None for result in sent):
                await asyncio.sleep(0.1)
                return
            await asyncio.sleep(max(0.0, window / rate - (time.monotonic() - began)))

    async def _send_one(self, channel: aiormq.abc.AbstractChannel, payload: bytes) -> None:
        name = uuid.uuid4().hex
        self.attempted.add(name)
        properties = spec.Basic.Properties(message_id=name, delivery_mode=2, content_type="application/json")
        async with asyncio.timeout(TIMEOUT):
            await channel.basic_publish(payload, routing_key=self._queue, mandatory=True, properties=properties)
        self.confirmed.add(name)
