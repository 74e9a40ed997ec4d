"""A process's connection to the simulated broker: the provider kit's, over a wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from app.queue.broker.connection import NOT_CONNECTED, BrokerConnection
from app.queue.broker.link import BrokerLink
from app.queue.broker.pool import ConnectionPool, PoolHealthCheck
from app.queue.errors import BrokerUnavailableError
from app.queue.settings.broker import BrokerConfig, Server, URLRules
from core_tests.simulator.network import Network, Wire
from core_tests.simulator.timeline import SimulationError, VirtualLoop

REQUEST_TIMEOUT = 10.0
HERE = "sim"
CONSUME, PUBLISH = "consume", "publish"
SERVERS = [Server("sim", 1, tls=False, username="", password="")]
Reply = Callable[[Any], None]
"""Answers a request, with a value or an exception."""


class SimulatedConfig(BrokerConfig):
    """One queue at the simulated broker."""

    url_rules: ClassVar[URLRules] = URLRules("sim", "sims", 1, 2)

    address: str = HERE
    """Another one has connections of its own, as another process would."""
    ack_wait: float = 20.0
    """Seconds for which the polled broker lends a message."""
    takes_back_after: float = 0.0
    """Seconds after which the broker that pushes takes back what is not acked; 0 for never."""
    consumer_timeout: float = 0.0
    """What the service is told of that."""

    @property
    def redelivered_within(self) -> float:
        return super().redelivered_within + 2 * self.ack_wait

    def servers(self) -> list[Server]:
        return SERVERS

    def broker_key(self) -> str:
        return self.address


class SimulatedProcess(VirtualLoop):
    """The loop of a process that can reach a broker."""

    network: Network
    broker: Any
    """As its provider knows it."""


def holder(config: SimulatedConfig) -> str:
    """Who has what is in flight, as the polled broker knows it."""
    name = here().name
    return name if config.address == HERE else f"{name} at {config.address}"


def here() -> SimulatedProcess:
    """The process that is running."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimulatedProcess):
        raise SimulationError("this runs outside of the simulation")
    return loop


class SimulatedConnection(BrokerConnection[SimulatedConfig]):
    """Requests and their answers, in order, over one wire."""

    def __init__(self, config: SimulatedConfig, server: Server, purpose: str) -> None:
        super().__init__(config, server)
        self.process = here()
        self.purpose = purpose
        self.blocked = False
        self._wire: Wire | None = None
        self._waiting: dict[asyncio.Future[Any], None] = {}

    @property
    def wire(self) -> Wire:
        """The wire. Raises BrokerUnavailableError."""
        if self._wire is None or self.ended.done():
            raise BrokerUnavailableError(NOT_CONNECTED)
        return self._wire

    async def connect(self) -> None:
        network = self.process.network
        await asyncio.sleep(network.latency())
        wire = self._wire = network.connect(self.process, self.purpose)
        if wire is None:
            raise BrokerUnavailableError("connection refused")
        wire.on_lost = self.lose
        self.process.broker.connected(wire, self._set_blocked)
        await self.call("ping")

    async def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self.lose("closed")

    async def ask(self, queue: str) -> None:
        await self.call("ping")

    @property
    def is_blocked(self) -> bool:
        return self.blocked

    def lose(self, why: str) -> None:
        super().lose(why)
        if self._wire is not None:
            self._wire.close()
        waiting, self._waiting = self._waiting, {}
        for answer in waiting:
            if not answer.done():
                answer.set_exception(BrokerUnavailableError(f"the connection was lost: {why}"))

    def tell(self, what: str, *args: Any) -> None:
        """Have the broker do something, and don't wait. Raises BrokerUnavailableError."""
        self.wire.up(getattr(self.process.broker, what), self._wire, *args)

    async def call(self, what: str, *args: Any, timeout: float = REQUEST_TIMEOUT) -> Any:
        """Have the broker do something, and return its answer. Raises BrokerError."""
        wire = self.wire
        answer: asyncio.Future[Any] = self.process.create_future()
        self._waiting[answer] = None

        def answered(value: Any) -> None:
            if not answer.done():
                if isinstance(value, Exception):
                    answer.set_exception(value)
                else:
                    answer.set_result(value)

        def reply(value: Any) -> None:
            wire.down(answered, value)

        wire.up(getattr(self.process.broker, what), wire, *args, reply)
        overdue = self.process.call_later(timeout, answered, BrokerUnavailableError(f"{what}: no answer in time"))
        try:
            return await answer
        finally:
            overdue.cancel()
            self._waiting.pop(answer, None)

    def _set_blocked(self, blocked: bool) -> None:
        self.blocked = blocked


class SimulatedPool(ConnectionPool[SimulatedConnection]):
    """One connection for each process and purpose."""

    config: SimulatedConfig

    def make(self, server: Server) -> SimulatedConnection:
        return SimulatedConnection(self.config, server, self.purpose)


class SimulatedHealthCheck(PoolHealthCheck):
    """Asks over both connections."""

    pool: ClassVar[type[ConnectionPool[Any]]] = SimulatedPool
    purposes: ClassVar[tuple[str, ...]] = (CONSUME, PUBLISH)


class SimulatedLink(BrokerLink[SimulatedConnection]):
    """A share in a connection."""

    def __init__(self, config: Any, purpose: str) -> None:
        super().__init__(SimulatedPool, config, purpose)
