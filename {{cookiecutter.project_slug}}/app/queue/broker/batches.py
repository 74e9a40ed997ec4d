# The template's: an update changes it. Which files are yours: README.md.
"""Batches: one request for all that ask in the same moment. While it is under way, the next ones gather."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from app.queue.errors import BrokerError, DeliveryLostError

Item = TypeVar("Item")


class Batches(Generic[Item]):
    """For acks, mostly. `send` takes `at_a_time` items at most, and returns what went wrong with each, or None.

    What it raises, a BrokerError, goes to all of them.
    """

    def __init__(
        self, send: Callable[[Sequence[Item]], Awaitable[Sequence[BrokerError | None]]], at_a_time: int
    ) -> None:
        self._send = send
        self._at_a_time = at_a_time
        self._waiting: list[tuple[Item, asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> None:
        """Return when it is done. Raises BrokerError."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())
        await done

    async def close(self, timeout: float) -> None:
        """Wait so many seconds for what is under way; then all that is left is lost."""
        if self._sending is not None and timeout > 0:
            await asyncio.wait([self._sending], timeout=timeout)
        if self._sending is not None:
            self._sending.cancel()

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                together, self._waiting = self._waiting[: self._at_a_time], self._waiting[self._at_a_time :]
                errors: Sequence[BrokerError | None] = [_gone()] * len(together)
                try:
                    errors = await self._send([item for item, _ in together])
                except BrokerError as error:
                    errors = [error] * len(together)
                finally:
                    for (_, done), result in zip(together, errors, strict=True):
                        _answer(done, result)
        finally:
            self._sending = None
            for _, done in self._waiting:
                _answer(done, _gone())
            self._waiting = []


def _answer(done: asyncio.Future[None], error: BrokerError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _gone() -> DeliveryLostError:
    return DeliveryLostError("the delivery's link is gone")
