"""The simulated brokers are like the real ones: one script sees the same on each."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from app.queue import setup
from app.queue.interfaces import Message, Place
from core_tests.contract.subject import Subject
from core_tests.simulator.conformance import DELAY, PREFETCH, QUIET, Script
from core_tests.simulator.conformance_faults import FaultScript
from core_tests.simulator.connection import PUBLISH, SimulatedConfig, SimulatedProcess
from core_tests.simulator.ledger import Ledger
from core_tests.simulator.network import Network
from core_tests.simulator.scenario import scenario_of
from core_tests.simulator.store import Store
from core_tests.simulator.timeline import Timeline
from core_tests.simulator.world import BROKERS, PROVIDERS
from core_tests.tools.proxy import Proxy

LIKE = {"rabbitmq": "push", "redis": "polled", "nats": "polled"}
"""For each provider the simulated broker that is like its."""
KEYS = {
    "prefetch": PREFETCH,
    "concurrency": PREFETCH,
    "retry": {"max_attempts": 2, "initial_delay": DELAY, "multiplier": 1},
}


class SimulatedFaults:
    """Faults of the simulation's network and broker."""

    def __init__(self, network: Network, broker: Store) -> None:
        self._network = network
        self._broker = broker

    async def drop(self) -> None:
        for wire in list(self._network.wires):
            wire.cut()

    async def freeze(self) -> None:
        for wire in list(self._network.wires):
            wire.freeze(math.inf)

    async def unfreeze(self) -> None:
        """New wires are well."""

    async def without_confirm(self, publishing: Coroutine[Any, Any, object]) -> BaseException | None:
        for wire in self._network.wires:
            wire.loses_confirm = wire.purpose == PUBLISH
        (error,) = await asyncio.gather(publishing, return_exceptions=True)
        return error if isinstance(error, BaseException) else None

    @asynccontextmanager
    async def full(self) -> AsyncIterator[None]:
        self._broker.set_alarm(True)
        yield
        self._broker.set_alarm(False)


class RealFaults:
    """Faults of a proxy, and of a private server."""

    def __init__(self, proxy: Proxy, subject: Subject) -> None:
        self._proxy = proxy
        self._subject = subject

    async def drop(self) -> None:
        self._proxy.drop()

    async def freeze(self) -> None:
        self._proxy.mode("freeze")

    async def unfreeze(self) -> None:
        self._proxy.mode("refuse")
        self._proxy.mode("pass")

    async def without_confirm(self, publishing: Coroutine[Any, Any, object]) -> BaseException | None:
        self._proxy.mode("mute")
        task = asyncio.ensure_future(publishing)
        await asyncio.sleep(QUIET)
        self._proxy.drop()
        await asyncio.wait([task])
        return task.exception()

    @asynccontextmanager
    async def full(self) -> AsyncIterator[None]:
        block = self._subject.candidate.block
        assert block is not None
        blocked = block(self._subject.node)
        await asyncio.to_thread(blocked.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(blocked.__exit__, None, None, None)


class ScriptLedger(Ledger):
    """That of a script, which leaves unsettled what it has taken, on purpose."""

    def delivered(self, message: Message, place: Place, count: int) -> None:
        """It may come as often as the script lets it."""


def simulated(kind: str, *, faults: bool = False) -> list[str]:
    """What the script sees in the simulation."""
    scenario = replace(scenario_of(0), messages=(), faults=())
    timeline, chance = Timeline(), random.Random(0)
    ledger = ScriptLedger(scenario, timeline)
    ledger.faults = faults
    network = Network(timeline, chance, ledger.note)
    config = SimulatedConfig.model_validate({"name": "script", "type": kind, **KEYS})
    loop = SimulatedProcess(timeline, "script")
    loop.network, loop.broker = network, BROKERS[kind](timeline, network, chance, ledger, config)
    elsewhere = config.model_copy(update={"address": "elsewhere"})

    async def run() -> list[str]:
        if faults:
            return await FaultScript(config, elsewhere, SimulatedFaults(network, loop.broker)).run()
        return await Script(config).run()

    with mock.patch.object(setup, "find_provider", lambda kind, _="": PROVIDERS[kind]):
        running = loop.create_task(run())
        timeline.run(until=600.0)
    assert not ledger.violations
    assert running.done(), "the script does not end"
    return running.result()


def test_both_simulated_brokers_are_alike() -> None:
    assert simulated("push") == simulated("polled")


def test_both_are_alike_in_faults_but_for_what_is_sent_to_a_full_broker() -> None:
    push, polled = (simulated(kind, faults=True) for kind in ("push", "polled"))
    late = f"m{PREFETCH + 2}"
    assert [line for line in push if late not in line] == [line for line in polled if late not in line]
    assert f"other: {late} new" in push
    assert f"{late} is not published, may have landed: False" in polled


@pytest.mark.slow
async def test_a_script_sees_the_same_on_a_broker_and_on_the_simulated_one(subject: Subject) -> None:
    kind = LIKE.get(subject.candidate.provider)
    if kind is None:
        pytest.skip("no simulated broker is like this one")
    assert await Script(subject.config(**KEYS)).run() == _elsewhere(kind)


@pytest.mark.slow
async def test_a_script_sees_the_same_of_faults_on_a_broker_and_on_the_simulated_one(private: Subject) -> None:
    kind = LIKE.get(private.candidate.provider)
    if kind is None:
        pytest.skip("no simulated broker is like this one")
    async with private.behind_proxy() as (proxy, keys):
        config, elsewhere = private.config(**KEYS, **keys), private.config(**KEYS)
        trace = await FaultScript(config, elsewhere, RealFaults(proxy, private)).run()
    assert trace == _elsewhere(kind, faults=True)


def _elsewhere(kind: str, *, faults: bool = False) -> list[str]:
    """In a thread of its own, for in this one a loop runs already."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(simulated, kind, faults=faults).result()
