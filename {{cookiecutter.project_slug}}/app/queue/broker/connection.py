# The template's: an update changes it. Which files are yours: README.md.
"""BrokerConnection: one connection to one server, from its handshake to its end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

from app.queue.clock import now
from app.queue.errors import BrokerUnavailableError
from app.queue.settings.broker import BrokerConfig, Server

Config = TypeVar("Config", bound=BrokerConfig)
Connection = TypeVar("Connection", bound="BrokerConnection[Any]")

CONNECT_TIMEOUT = 10.0
PROBE_SPACING = 0.75  # seconds within which one probe is enough for all queues that share a connection
SILENT_AFTER = 2.5  # seconds without an answer to a probe, after which a connection counts as silent
PROBE_TIMEOUT = 5.0  # seconds after which it is given up
LOOK_EVERY = 0.25
NOT_CONNECTED = "not connected to the broker"


class BrokerConnection(ABC, Generic[Config]):
    """It is opened once, and never again: another takes its place. When to do that is the supervisor's affair.

    So a library's own way of connecting again is to be switched off.
    """

    def __init__(self, config: Config, server: Server) -> None:
        self.config = config
        self.server = server
        self.context = config.tls(server)
        """For TLS; None without. Its files are read for each connection, so this raises BrokerRefusedError."""
        self.users = 0  # how many links share it; kept by the pool
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()  # lost or closed: why, in words
        self.is_silent = False  # True while the server does not answer, but may do so yet
        self._asked_at = -PROBE_SPACING

    async def open(self) -> None:
        """Connect, in bounded time; leave nothing open if that fails. Raises BrokerError."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self.connect()
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception) and (reason := await self.explained(error)) is not error:
                raise reason from error
            raise

    @abstractmethod
    async def connect(self) -> None:
        """Connect, once. Raises whatever the library does; after CONNECT_TIMEOUT it is cut off."""

    async def explained(self, error: Exception) -> Exception:
        """The BrokerError that says why `connect()` failed; what is no broker's doing is returned as it is."""
        return error

    @abstractmethod
    async def close(self) -> None:
        """Close it in bounded time, whatever state it is in. May be called twice."""

    @abstractmethod
    async def ask(self, queue: str) -> None:
        """Have the server answer, as cheaply as possible, for this queue. Raises BrokerError."""

    @property
    def is_open(self) -> bool:
        """True while messages can be exchanged, as far as is known."""
        return not self.ended.done()

    @property
    def is_blocked(self) -> bool:
        """True while the broker says that it accepts no messages over it."""
        return False

    def check(self) -> None:
        """Raise BrokerUnavailableError if nothing can be sent."""
        if not self.is_open:
            raise BrokerUnavailableError(NOT_CONNECTED)

    def lose(self, why: str) -> None:
        """Give it up. A library's callback for a lost connection calls this, too."""
        if not self.ended.done():
            self.ended.set_result(why)

    async def probe(self, queue: str) -> None:
        """Ask, and give the connection up if there is no answer; a blocked one is not asked. Raises BrokerError."""
        if self.is_blocked or now() - self._asked_at < PROBE_SPACING:
            return None
        self._asked_at = now()
        asking = asyncio.ensure_future(self.ask(queue))
        ends: set[asyncio.Future[Any]] = {asking, self.ended}
        try:
            # In looks, not by the clock: a handler may block this loop for long, and then the answer is not read yet.
            for look in range(1, max(1, round(PROBE_TIMEOUT / LOOK_EVERY)) + 1):
                await asyncio.wait(ends, timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    self.is_silent = False
                    return await asking
                if self.ended.done():
                    raise BrokerUnavailableError(f"health check: {self.ended.result()}")
                self.is_silent = look * LOOK_EVERY >= SILENT_AFTER
            why = f"the server has not answered for {PROBE_TIMEOUT:g} s"
            self.lose(why)
            raise BrokerUnavailableError(f"health check: {why}")
        finally:
            asking.cancel()
            self._asked_at = now()


def forget(ended: asyncio.Future[Any]) -> None:
    """Let nobody be told of its error."""
    if not ended.cancelled():
        ended.exception()
