"""A broker in a few lists, for the tests of the kit for providers."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from app.queue.broker.connection import BrokerConnection
from app.queue.broker.pool import ConnectionPool
from app.queue.errors import BrokerError
from app.queue.settings.broker import BrokerConfig, Server, URLRules


class FakeConfig(BrokerConfig):
    """The keys of a queue at it."""

    url_rules: ClassVar[URLRules] = URLRules("fake", "fakes", 1000, 2000)


def fake_config(**keys: Any) -> FakeConfig:
    """A queue `q` with short delays."""
    return FakeConfig(name="q", type="fake", **{"publish_timeout": 0.2, **keys})


async def fail_next(errors: list[Exception | None]) -> None:
    """Raise the first of these, and take it out; hang where that is None. Return if there is none."""
    if not errors:
        return
    if (error := errors.pop(0)) is None:
        await asyncio.Event().wait()
    else:
        raise error


class FakeConnection(BrokerConnection[FakeConfig]):
    """Opens, or raises what `refusals` has for its host; answers, or does what is in `answers`.

    That is to raise an error, to answer after so many seconds, or to hang if it is None.
    """

    refusals: ClassVar[dict[str, BrokerError]] = {}

    def __init__(self, config: FakeConfig, server: Server) -> None:
        super().__init__(config, server)
        self.opened = False
        self.closes = 0
        self.answers: list[BrokerError | float | None] = []
        self.asked: list[str] = []
        self.blocked = False

    async def connect(self) -> None:
        await asyncio.sleep(0.01)
        if (refusal := self.refusals.get(self.server.host)) is not None:
            raise refusal
        self.opened = True

    async def close(self) -> None:
        self.lose("closed")
        self.closes += 1

    async def ask(self, queue: str) -> None:
        self.asked.append(queue)
        if self.answers:
            match self.answers.pop(0):
                case None:
                    await asyncio.Event().wait()
                case BrokerError() as error:
                    raise error
                case seconds:
                    await asyncio.sleep(seconds)

    @property
    def is_blocked(self) -> bool:
        return self.blocked


class FakePool(ConnectionPool[FakeConnection]):
    """Keeps all connections that it has made."""

    config: FakeConfig
    made: ClassVar[list[FakeConnection]] = []

    def make(self, server: Server) -> FakeConnection:
        self.made.append(FakeConnection(self.config, server))
        return self.made[-1]
