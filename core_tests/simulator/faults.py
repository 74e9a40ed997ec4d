"""What each kind of fault does to the world."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from app.queue.interfaces import Place
from core_tests.simulator.connection import PUBLISH
from core_tests.simulator.network import NOTICED_AFTER, Where, Wire
from core_tests.simulator.scenario import Fault, Trouble
from core_tests.simulator.waiting import felt_until

if TYPE_CHECKING:
    from core_tests.simulator.world import World

FULL_PLACES = (Place.QUEUE, Place.DLQ, Place.PARKED, Place.RETRY, Place.QUARANTINE)


def apply(world: World, fault: Fault) -> None:
    """Let it happen now."""
    world.ledger.faults += 1
    world.ledger.note("fault", fault.what.value, fault.process, fault.seconds, fault.count)
    world.ledger.waits.troubled(_felt_until(world, fault))
    if fault.what not in (Trouble.OUTAGE, Trouble.KILL, Trouble.DRAIN):
        world.ledger.settles_from = max(world.ledger.settles_from, _felt_until(world, fault))
    match fault.what:
        case Trouble.CUT | Trouble.LOST_CONFIRM:
            _cut(world, fault)
        case Trouble.SILENT | Trouble.FREEZE:
            seconds = math.inf if fault.what is Trouble.SILENT else fault.seconds
            for wire in _wires(world, fault):
                wire.freeze(seconds)
        case Trouble.KILL:
            process = world.processes[fault.process]
            noticed = fault.choice < 0.7
            kill = partial(process.kill, "killed", fault.seconds / 5, noticed=noticed)
            process.kill_after(fault.count, kill)
        case Trouble.DRAIN:
            world.processes[fault.process].drain()
        case Trouble.ALARM:
            world.broker.set_alarm(True)
            world.timeline.later(fault.seconds, world.broker.set_alarm, False)
        case Trouble.FULL:
            place = world.broker.at(FULL_PLACES[int(fault.choice * len(FULL_PLACES))])
            place.full = True
            world.timeline.later(fault.seconds, setattr, place, "full", False)
        case Trouble.OUTAGE:
            world.outage += 1
            world.timeline.later(fault.seconds, _outage_ends, world)
        case Trouble.RESTART:
            world.network.down = True
            for wire in list(world.network.wires):
                wire.cut("the broker stops")
            world.timeline.later(fault.seconds / 3, setattr, world.network, "down", False)


def _felt_until(world: World, fault: Fault) -> float:
    """A kill has its own time, when the process is dead. What is silent or frozen is given up after some heartbeats."""
    now = world.timeline.now
    match fault.what:
        case Trouble.KILL:
            return now
        case Trouble.SILENT | Trouble.FREEZE:
            return felt_until(now, max(fault.seconds, NOTICED_AFTER[1]))
        case _:
            return felt_until(now, fault.seconds)


def _outage_ends(world: World) -> None:
    world.outage -= 1


def _wires(world: World, fault: Fault) -> list[Wire]:
    """Some or all wires of the fault's process; or, now and then, of the producer."""
    loop = world.processes[fault.process].loop if fault.choice < 0.9 else world.producer.loop
    wires = [] if loop is None else world.network.of(loop)
    return wires if fault.choice < 0.5 else wires[:1]


def _cut(world: World, fault: Fault) -> None:
    if fault.what is Trouble.CUT:
        where = Where.BEFORE if int(fault.choice * 100) % 2 else Where.AFTER
        for wire in _wires(world, fault):
            wire.burn_after(fault.count, where)
        return
    loop = world.processes[fault.process].loop if fault.choice < 0.7 else world.producer.loop
    if loop is not None:
        for wire in world.network.of(loop, PUBLISH):
            wire.loses_confirm = True
