# The template's: an update changes it. Which files are yours: README.md.
"""LinkedPublisher: what the publisher of every broker that can be away does around putting one message."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable
from typing import Any, ClassVar

from app.queue.broker.connection import Connection
from app.queue.broker.link import Linked
from app.queue.broker.publisher import GuardedPublisher
from app.queue.clock import now
from app.queue.errors import PublisherBlockedError, UnroutableError
from app.queue.interfaces import PublisherState
from app.queue.messages.message import Message
from app.queue.middleware import PublishMiddleware

LOOK_EVERY = 0.2  # seconds between looks whether the connection is blocked: the library may tell only who asks


class LinkedPublisher(GuardedPublisher, Linked[Connection]):
    """Opens the link and sees to it that its queue is there; makes it anew, once, if it was deleted meanwhile."""

    blocked_for: ClassVar[float] = 10.0
    """Seconds for which a PublisherBlockedError counts, where the broker does not say when it takes messages again.

    0: it says so, by `is_blocked` of the connection. While something is being sent, that is looked at now and then.
    """

    def __init__(self, queue_name: str, config: Any, middleware: tuple[PublishMiddleware, ...] = ()) -> None:
        super().__init__(queue_name, config, middleware)
        self.link = self.make_link()
        self._ensured = False  # True once the queue was seen to over this link. Then others may be sending over it
        self._blocked_until = 0.0
        self._looking: asyncio.TimerHandle | None = None

    @abstractmethod
    async def ensure(self) -> None:
        """See to it that the publisher's queue is there; the link is open. Raises BrokerError."""

    @abstractmethod
    def put(self, queue: str, message: Message) -> Awaitable[None]:
        """As `send()`. Raises UnroutableError if there is no such queue."""

    async def open(self) -> None:
        if self.link.is_open and self._ensured:
            return
        if not self.link.is_open:
            self._ensured = False
            await self.link.open()
        try:
            await self.ensure()
        except Exception:
            if not self._ensured:
                await self.link.close()
            raise
        self._ensured = True
        self._blocked_until = 0.0  # what another link was told says nothing of this one
        self.breaker.reset()  # the broker is back

    async def lost(self) -> str:
        return await self.link.lost()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        await self.link.close()

    @property
    def state(self) -> PublisherState:
        if not (self.link.answers and self._ensured):
            return "down"
        return "blocked" if self.link.is_blocked or now() < self._blocked_until else "ready"

    async def send(self, queue: str, message: Message) -> None:
        if self._looking is None and not self.blocked_for:
            self._look_later()
        try:
            await self.put(queue, message)
        except UnroutableError:
            if queue != self.queue_name:
                raise
            await self.put_anew(queue, message)
        except PublisherBlockedError:
            self._blocked_until = now() + self.blocked_for
            raise
        self._blocked_until = 0.0

    async def put_anew(self, queue: str, message: Message) -> None:
        """Make the queue, which somebody has deleted, and put the message into it."""
        await self.ensure()
        await self.put(queue, message)

    def _look(self) -> None:
        """A broker may say that it takes nothing when a message comes, and keep that one for later: wait no longer."""
        self._looking = None
        if self.link.is_blocked:
            self.limit.expire()
        elif self.limit:
            self._look_later()

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)
