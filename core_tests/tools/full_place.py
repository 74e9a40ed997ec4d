"""A service whose dead-letter queue takes nothing: what is asked of it on every provider."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any
from unittest import mock

from app.queue.config import QueueConfig
from app.queue.consume.worker import QueueWorker
from app.queue.handling import Reject
from app.queue.interfaces import Delivery, Place, PublisherState
from app.queue.setup import get_dead_letters
from core_tests.tools.example import UserHandler, audio, running
from core_tests.tools.waiting import eventually

BAD, GOOD = 10, 20
KEYS: dict[str, Any] = {"prefetch": 5, "concurrency": 5}
"""Of the queue: fewer may be in flight than can't be settled."""
DELIVERIES = 3
"""How often a message may come at most while it is held, which is for longer than five leases of `ack_wait: 2`."""


def refuse_the_bad(message: Any) -> None:
    """The handler's behaviour."""
    if message.content == "bad":
        raise Reject("bad")


async def hold_and_let_go(
    config: QueueConfig,
    full: Callable[[], AbstractAsyncContextManager[None]],
    why: str,
    mover: PublisherState | None = None,
) -> None:
    """Inside `full()`, messages that belong into the DLQ can't get there.

    `why` is in the broker's words for that. `mover` is what health says then of the link that was to move them.
    """
    handler = UserHandler(refuse_the_bad)

    def handled(user: int) -> int:
        return sum(message.user_id == user for message in handler.handled)

    with counted() as came:
        async with running((config, handler)) as service:
            publisher = service.publisher(config.name)
            async with full():
                for _ in range(BAD):
                    await publisher.publish_message(config.name, audio(content="bad"))
                for _ in range(GOOD):
                    await publisher.publish_message(config.name, audio(1))
                await eventually(lambda: handled(1) == GOOD, "the good ones are handled")
                await eventually(lambda: service.health().queues[config.name].consumer == "held", "health says so")
                health = service.health().queues[config.name]
                assert health.status == "unhealthy"
                assert f"{BAD} messages can't be settled" in str(health.detail)
                assert why in str(health.detail)
                assert health.mover == mover
                assert max(came.values()) <= DELIVERIES, "what is held stays in flight, and is not given out again"
            reader = get_dead_letters(config)

            async def all_there() -> bool:
                return await reader.depth() >= BAD

            await eventually(all_there, "what was held is in the DLQ")
            await reader.close()
            await eventually(lambda: service.health().status == "healthy", "health says so")
            assert service.health().queues[config.name].mover is None
    assert sum(name != "" for name, _ in handler.attempts) == BAD + GOOD, "none was run twice"


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Inside, how often each message is delivered to a service that is made there, by its id."""
    came: Counter[str] = Counter()
    handle = QueueWorker.handle

    def counting(worker: QueueWorker, delivery: Delivery, *rest: Any) -> Coroutine[Any, Any, Any]:
        came[delivery.message.message_id] += 1
        return handle(worker, delivery, *rest)

    with mock.patch.object(QueueWorker, "handle", counting):
        yield came


async def leave_in_a_drain(config: QueueConfig, full: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """A drain does not wait for what is held, and loses none of it."""
    handler = UserHandler(refuse_the_bad)
    async with full():
        async with running((config, handler), drain={"delay": 0, "timeout": 600}) as service:
            for _ in range(BAD):
                await service.publisher(config.name).publish_message(config.name, audio(content="bad"))
            await eventually(lambda: len(handler.attempts) == BAD, "all are tried")
            await asyncio.sleep(0.5)
            began = time.monotonic()
        assert time.monotonic() - began < 60
    async with running((config, UserHandler(refuse_the_bad))):
        reader = get_dead_letters(config, Place.DLQ)

        async def all_there() -> bool:
            return await reader.depth() >= BAD

        await eventually(all_there, "what was held is in the DLQ", 60)
        await reader.close()
