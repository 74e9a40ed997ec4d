"""A process of the simulation: an event loop with the real service on it, as `setup.py` puts it together."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.queue.handling import Reject, current_delivery
from app.queue.processor import MessageProcessor
from core_tests.simulator.connection import SimulatedProcess
from core_tests.simulator.ledger import DONE
from core_tests.simulator.producer import service_of
from core_tests.simulator.scenario import Kind, Sent
from core_tests.simulator.store import ENTRY

if TYPE_CHECKING:
    from core_tests.simulator.world import World

RESTARTED_AFTER = 2.0
"""Seconds until somebody starts a process again that died of a message."""


class Handler:
    """Does with each message what its kind says."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def work(self, message: dict[str, Any]) -> None:
        """The one type of message."""
        process, info = self._process, current_delivery()
        ledger, entry = process.world.ledger, info.headers[ENTRY]
        life = process.life
        fate = ledger.began(life, info.message_id, entry)
        how = "cut off"
        try:
            await self._do(process.world.sent[message["n"]], fate.calls)
            fate.done += 1
            how = DONE
        except Exception as error:
            how = type(error).__name__
            raise
        finally:
            if not process.world.over:
                ledger.ended(life, info.message_id, entry, how)

    async def _do(self, sent: Sent, call: int) -> None:
        process = self._process
        world = process.world
        if sent.work:
            await self._pass(sent)
        if sent.kind is Kind.KILLER:
            world.ledger.fate(current_delivery().message_id).deaths += 1
            world.ledger.killed.add(process.life)
            process.kill(f"message m{sent.number}", restart=RESTARTED_AFTER)
            await asyncio.Event().wait()
        if world.outage:
            world.ledger.fate(current_delivery().message_id).disturbed = True
            raise ConnectionError("the handler's world is down")
        if sent.kind is Kind.REJECTED:
            raise Reject("never")
        if sent.kind is Kind.ALWAYS or call <= sent.fails:
            raise RuntimeError("it fails")

    async def _pass(self, sent: Sent) -> None:
        """Return when its time is over. A plain function, which runs in a thread, is left alone by all but the end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + sent.work
        while (left := until - loop.time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                if not sent.plain or self._process.draining:
                    raise


class Process:
    """One instance of the service; it dies and is started again, each time with another `life`."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.lives = 0
        self.loop: SimulatedProcess | None = None
        self.draining = False
        self._stop = asyncio.Event()

    @property
    def life(self) -> str:
        """The name of this life."""
        return f"{self.name}.{self.lives}"

    def dispatcher(self) -> MessageProcessor:
        """What knows the handler."""
        dispatcher = MessageProcessor()
        dispatcher.register_handler(self.world.config.name, Handler(self))
        return dispatcher

    def start(self) -> None:
        """Begin a new life."""
        if self.loop is not None or self.world.over:
            return
        self.lives += 1
        self.draining = False
        world = self.world
        world.ledger.started(self.life)
        _, service = service_of(world.config, self.dispatcher())
        (group,) = service._groups
        self.loop = world.loop(self.life)
        self._stop = asyncio.Event()
        running = self.loop.create_task(group.run(self._stop), context=contextvars.Context())
        running.add_done_callback(self._ended)

    def kill(self, why: str, restart: float, *, noticed: bool = True) -> None:
        """It dies at once. The broker learns it, or finds out."""
        loop = self._let_go(why, restart)
        if loop is not None:
            for wire in self.world.network.of(loop):
                wire.died(noticed=noticed)

    def kill_after(self, steps: int, then: Callable[[], None]) -> None:
        """It dies between two steps of its tasks, so many from now on."""
        if self.loop is not None:
            self.loop.fuse, self.loop.on_fuse = steps, then

    def drain(self) -> None:
        """Stop it in peace, as by SIGTERM. It is started again when it has ended."""
        if self.loop is not None and not self.draining:
            self.draining = True
            self.world.ledger.note("drains", self.life)
            self.loop.call_soon(self._stop.set)

    def _ended(self, running: asyncio.Task[None]) -> None:
        error = None if running.cancelled() else running.exception()
        if error is not None or not self.draining:
            self.world.ledger.violated(f"{self.life} ended by itself: {error!r}")
        loop = self._let_go("drained", RESTARTED_AFTER)
        if loop is not None:
            for wire in self.world.network.of(loop):
                wire.died(noticed=True)

    def _let_go(self, why: str, restart: float) -> SimulatedProcess | None:
        loop, self.loop = self.loop, None
        if loop is not None:
            loop.dead = True
            self.world.ledger.died(self.life, why)
            self.world.timeline.later(restart, self.start)
        return loop
