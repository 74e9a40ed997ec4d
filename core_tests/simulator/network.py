"""The network between processes and the broker: wires that take their time, break, freeze, or go silent."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any

from core_tests.simulator.timeline import Handle, Timeline, VirtualLoop

MIN_LATENCY, MAX_LATENCY = 0.0002, 0.004
NOTICED_AFTER = (15.0, 30.0)
"""Seconds after which either side gives up a wire of which it hears nothing: some heartbeats."""


class Where(StrEnum):
    """When a wire breaks, as far as one frame is concerned."""

    BEFORE = "before it arrives"
    AFTER = "after it has arrived"


class Wire:
    """One connection. Frames go in order, each way; those that are on their way when it breaks are lost.

    Attributes:
        here: the process has not closed it, nor learned that it is lost.
        there: the broker has it.
        on_lost: called in the process when it learns that it is lost.
        on_gone: called at the broker when it has lost it.
        fuse: frames that go until it breaks; 0 for never.
        loses_confirm: it breaks when the broker has taken the next message, before it confirms that.
    """

    def __init__(self, network: Network, loop: VirtualLoop, name: str, purpose: str) -> None:
        self.loop = loop
        self.name = name
        self.purpose = purpose
        self.here = self.there = True
        self.on_lost: Callable[[str], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self.fuse = 0
        self.loses_confirm = False
        self._where = Where.BEFORE
        self._network = network
        self._frozen_until = 0.0
        self._last = [0.0, 0.0]

    def up(self, callback: Callable[..., object], *args: Any) -> None:
        """Send a frame to the broker."""
        if self.here and not self.loop.dead:
            when = self._arrival(0)
            if when < math.inf:
                self._network.timeline.at(Handle(None, when, self._arrived, (True, callback, args), None))

    def down(self, callback: Callable[..., object], *args: Any) -> Handle | None:
        """Send a frame to the process."""
        when = self._arrival(1)
        if not self.there or when == math.inf:
            return None
        handle = Handle(None, when, self._arrived, (False, callback, args), None)
        self._network.timeline.at(handle)
        return handle

    def cut(self, why: str = "reset by peer") -> None:
        """It breaks, and both sides learn it."""
        if self.there:
            self.gone()
            self._network.timeline.later(self._network.latency(), self._tell, why)

    def freeze(self, seconds: float) -> None:
        """Nothing goes through for so long: for ever, if that is infinite. Both sides miss heartbeats meanwhile."""
        timeline, chance = self._network.timeline, self._network.chance
        self._frozen_until = max(self._frozen_until, timeline.now + seconds)
        tell = partial(self._tell, "no heartbeat")
        for notice, other in ((self.gone, tell), (tell, self.gone)):
            patience = chance.uniform(*NOTICED_AFTER)
            if seconds > patience:
                timeline.later(patience, notice)
                if seconds < math.inf:  # what one side has closed, the other learns when something goes through again
                    timeline.later(seconds + self._network.latency(), other)

    def burn_after(self, frames: int, where: Where) -> None:
        """Break it by one of the next frames."""
        self.fuse, self._where = frames, where

    def close(self) -> None:
        """The process has closed it in peace. What it sent before arrives."""
        if self.here:
            self.up(self.gone)
            self.here = False

    def died(self, *, noticed: bool) -> None:
        """The process is dead. The broker learns it at once, or by silence."""
        self.here = False
        if noticed:
            when = self._arrival(0)
            if when < math.inf:
                self._network.timeline.at(Handle(None, when, self.gone, (), None))
        else:
            self._network.timeline.later(self._network.chance.uniform(*NOTICED_AFTER), self.gone)

    def gone(self) -> None:
        """The broker has lost it."""
        if self.there:
            self.there = False
            self._network.wires.pop(self, None)
            if self.on_gone is not None:
                self.on_gone()

    def _tell(self, why: str) -> None:
        self._in_process(self._learn, why)

    def _learn(self, why: str) -> None:
        if self.here:
            self.here = False
            if self.on_lost is not None:
                self.on_lost(why)

    def _arrived(self, upwards: bool, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        if not (self.there if upwards else self.here):
            return
        broken = False
        if self.fuse:
            self.fuse -= 1
            broken = not self.fuse
        if not (broken and self._where is Where.BEFORE):
            if upwards:
                callback(*args)
            else:
                self._in_process(callback, *args)
        if broken:
            self._network.note("cut", self.name, self._where)
            self.cut()

    def _in_process(self, callback: Callable[..., object], *args: Any) -> None:
        """Call it in the process, if that lives."""
        self.loop.call_soon(callback, *args)

    def _arrival(self, way: int) -> float:
        now, last = self._network.timeline.now, self._last
        when = max(now + self._network.latency(), last[way])
        if now < self._frozen_until:
            when = max(when, self._frozen_until)
        last[way] = when
        return when


class Network:
    """All wires to one broker. `down`: nobody can connect."""

    def __init__(self, timeline: Timeline, chance: random.Random, note: Callable[..., None]) -> None:
        self.timeline = timeline
        self.chance = chance
        self.note = note
        self.down = False
        self.wires: dict[Wire, None] = {}
        self._made = 0

    def latency(self) -> float:
        """Seconds that a frame takes."""
        return self.chance.uniform(MIN_LATENCY, MAX_LATENCY)

    def connect(self, loop: VirtualLoop, purpose: str) -> Wire | None:
        """A new wire; None if the broker can't be reached."""
        if self.down:
            return None
        self._made += 1
        wire = Wire(self, loop, f"{loop.name}/{purpose}{self._made}", purpose)
        self.wires[wire] = None
        return wire

    def of(self, loop: VirtualLoop, purpose: str = "") -> list[Wire]:
        """The wires of a process."""
        return [wire for wire in self.wires if wire.loop is loop and purpose in ("", wire.purpose)]
