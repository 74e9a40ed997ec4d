"""One run: the processes, the broker, the producer and the faults of a scenario, from the first message to calm."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest import mock

from app.queue import clock, publishing, setup
from app.queue.broker import polling, pool
from app.queue.instrumentation import events
from app.queue.interfaces import Message, Place, Provider
from app.queue.messages import headers
from app.queue.run import health
from core_tests.simulator import faults
from core_tests.simulator.connection import SimulatedConfig, SimulatedProcess
from core_tests.simulator.ledger import Ledger
from core_tests.simulator.network import Network
from core_tests.simulator.polled.broker import PolledBroker
from core_tests.simulator.polled.provider import provider as polled
from core_tests.simulator.process import Process
from core_tests.simulator.producer import Producer
from core_tests.simulator.push.broker import PushBroker
from core_tests.simulator.push.provider import provider as push
from core_tests.simulator.scenario import Scenario
from core_tests.simulator.store import Store
from core_tests.simulator.timeline import Timeline
from core_tests.simulator.waiting import felt_until

PROVIDERS: dict[str, Provider] = {"push": push, "polled": polled}
BROKERS: dict[str, type[Store]] = {"push": PushBroker, "polled": PolledBroker}
QUEUE = "work"
LOOK_EVERY = 5.0
CHEAPER = [
    (health, "PROBE_INTERVAL", 20.0),
    (health, "BLOCKED_INTERVAL", 5.0),
    (polling, "LOOK_EVERY", 5.0),
    (headers, "_traceback", lambda error: f"{error!r}\n"),
]
"""What would else be most of what a run costs: seconds between looks of the core's, and the text of tracebacks."""
TROUBLE = (events.LinkLost, events.MessageHeld, events.PublisherBlocked)
"""What the core says when a fault is felt, which may be long after it was made."""


@dataclass(frozen=True, slots=True)
class Run:
    """How it went."""

    scenario: Scenario
    ledger: Ledger
    parked: Mapping[str, Message]
    seconds: float


class World:
    """All of it, while it runs."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.over = False
        self.outage = 0
        """How many reasons there are for which every handler fails."""
        self.sent = {sent.number: sent for sent in scenario.messages}
        self.timeline = Timeline()
        self.ledger = Ledger(scenario, self.timeline)
        chance = random.Random(f"run {scenario.seed}")
        clock.chance.seed(f"core {scenario.seed}")
        self.network = Network(self.timeline, chance, self.ledger.note)
        self.config = SimulatedConfig.model_validate({"name": QUEUE, "type": scenario.broker, **scenario.keys})
        self.broker = BROKERS[scenario.broker](self.timeline, self.network, chance, self.ledger, self.config)
        self.loops: list[SimulatedProcess] = []
        self.processes = [Process(self, f"p{number}") for number in range(scenario.processes)]
        self.producer = Producer(self)

    def loop(self, name: str) -> SimulatedProcess:
        """A loop for a new process."""
        loop = SimulatedProcess(self.timeline, name)
        loop.network, loop.broker = self.network, self.broker
        self.loops.append(loop)
        return loop

    def run(self) -> Run:
        """Run the scenario until all is at its end, or an invariant is violated."""
        scenario, later = self.scenario, self.timeline.later
        for process in self.processes:
            process.start()
        self.producer.start(self.processes[0].dispatcher())
        for fault in scenario.faults:
            later(fault.at, faults.apply, self, fault)
        later(scenario.calm_at, self._look)
        end = scenario.calm_at + scenario.patience
        self.timeline.run(end)
        if not self.timeline.stopped:
            self.ledger.violated(f"{end:.0f} s: not everything is at its end, although there was no fault for long")
        for loop in self.loops:
            for trouble in loop.trouble:
                self.ledger.violated(f"{loop.name}: {trouble}")
        parked = {entry.message.message_id: entry.message for entry in self.broker.at(Place.PARKED).entries()}
        return Run(scenario, self.ledger, parked, self.timeline.now)

    def end(self) -> None:
        """Let all processes be dead, and forget what they still had to do."""
        self.over = True
        for loop in self.loops:
            loop.dead = True
        self.timeline.clear()
        publishing._by_loop.clear()
        publishing._homes.clear()
        pool._by_loop.clear()

    def _look(self) -> None:
        if not self.producer.unsent and self.broker.idle():
            self.timeline.stop()
            return
        self.timeline.later(LOOK_EVERY, self._look)
        if not self.producer.unsent:
            self.producer.one_more()

    def heard(self, event: events.Event) -> None:
        """The core says that something has happened."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, SimulatedProcess) and not self.over:
            self.ledger.note("says", loop.name, type(event).__name__)
            if isinstance(event, TROUBLE):
                self.ledger.waits.troubled(felt_until(self.timeline.now, 0.0))
            if isinstance(event, events.ConsumingPaused):
                self.ledger.paused.add(loop.name)
            elif isinstance(event, events.ConsumingResumed):
                self.ledger.paused.discard(loop.name)


def simulate(scenario: Scenario) -> Run:
    """Run a scenario."""
    find = mock.patch.object(setup, "find_provider", lambda kind, _="": PROVIDERS[kind])
    with _quiet(), find, ExitStack() as stack:
        for module, name, cheaper in CHEAPER:
            stack.enter_context(mock.patch.object(module, name, cheaper))
        return _simulate(scenario)


def _simulate(scenario: Scenario) -> Run:
    world = World(scenario)
    forget = events.add_listener(world.heard)
    try:
        return world.run()
    finally:
        world.end()
        forget()


@contextmanager
def _quiet() -> Iterator[None]:
    """Collect no garbage while it runs, but in the end: what is left of the dead runs its `finally` then, unheard."""
    enabled = gc.isenabled()
    gc.disable()
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
            gc.collect(1)
    finally:
        sys.unraisablehook = hook
        if enabled:
            gc.enable()
