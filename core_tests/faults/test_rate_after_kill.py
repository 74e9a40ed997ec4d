"""`kill -9` of an instance that has work in flight: what it had runs again at once, and costs nobody else anything."""

from __future__ import annotations

import time
from dataclasses import dataclass

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, Worlds, side_by_side

BEFORE = 15.0
"""Seconds in which the rate is measured before the kill."""
AFTER = 60.0
RESTART_AFTER = 2.0
GOOD = 1_000
FOUND_WITHIN = 120
"""Seconds; half of that on a quiet machine. Each of the six deaths costs a start of the service."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A case.

    Attributes:
        instances: how many run; one of them is killed, and started again at once.
        seconds: how long a handler takes.
        at_least: of what the rate before would have done.
    """

    instances: int
    seconds: float
    at_least: float
    queue_type: str = "quorum"


KILLS = (Kill(2, 1, 0.85), Kill(2, 1, 0.85, "classic"), Kill(1, 4, 0.8))
"""With room for a busy machine, on which a service takes ten seconds to start: on a quiet one it is 0.93 and more."""


def test_the_rate_after_a_kill_is_the_rate_before(new_world: Worlds, row: WriteRow) -> None:
    side_by_side(lambda case: kill_one(*case, row), [(new_world(), kill) for kill in KILLS])


def kill_one(world: World, kill: Kill, row: WriteRow) -> None:
    services = [world.service(queue_type=kill.queue_type) for _ in range(kill.instances)]
    for service in services:
        service.start()
    slots = 10 * kill.instances
    sender = world.sender()
    sender.send(round(1.5 * (BEFORE + AFTER) * slots / kill.seconds), sleep=kill.seconds)
    time.sleep(BEFORE + kill.seconds)
    killed = time.monotonic()
    services[0].kill()
    services[0].start(ready_within=0)
    time.sleep(AFTER)
    done = [entry.at for entry in world.ledger.entries("done")]
    before = sum(killed - BEFORE <= at < killed for at in done) / BEFORE
    after = sum(killed <= at < killed + AFTER for at in done) / AFTER
    share = after / before
    what = f"handlers of {kill.seconds} s, {kill.queue_type}"
    fault = f"one of {kill.instances} instances is killed and started again, {what}"
    said = f"{share:.2f}: {before:.1f}/s, then {after:.1f}/s"
    row(
        fault,
        f"the {AFTER:.0f} s after it do at least {kill.at_least} of the rate before",
        said,
        share >= kill.at_least,
    )
    row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", not world.dead())


def test_one_killer_among_many_good_ones_is_found_soon(new_world: Worlds, row: WriteRow) -> None:
    side_by_side(lambda case: find_killer(*case, row), [(new_world(), kind) for kind in ("quorum", "classic")])


def find_killer(world: World, queue_type: str, row: WriteRow) -> None:
    services = [world.service(queue_type=queue_type) for _ in range(2)]
    for service in services:
        service.start()
        service.terminate()
    sender = world.sender()
    sender.send(GOOD // 10, sleep=0.1)
    killer = sender.send(1, exit=True, sleep=0.1)
    sender.send(GOOD - GOOD // 10, sleep=0.1)
    good = sender.confirmed - killer
    for service in services:
        service.start(ready_within=0)
    began = time.monotonic()
    deaths, ended_at = 0, [0.0, 0.0]
    while time.monotonic() - began < 1.5 * FOUND_WITHIN and not (good <= world.ledger.ids() and world.dead()):
        for number, service in enumerate(services):
            if service.ended and not ended_at[number]:
                deaths += 1
                ended_at[number] = time.monotonic()
            elif service.ended and time.monotonic() - ended_at[number] >= RESTART_AFTER:
                ended_at[number] = 0.0
                service.start(ready_within=0)
        time.sleep(0.05)
    last = max((entry.at for entry in world.ledger.entries("done", good)), default=0.0) - began
    left = len(good - world.ledger.ids())
    dead = [(properties.message_id, properties.headers.get("dlq-reason")) for properties, _ in world.dead_letters()]
    fault = f"one message among {GOOD} kills its process, 2 instances, each started again after 2 s, {queue_type}"
    row(
        fault,
        f"all good ones are done within {FOUND_WITHIN} s",
        f"{last:.1f} s, left {left}",
        not left and last <= FOUND_WITHIN,
    )
    row(fault, "after six deaths at most", f"{deaths} deaths", 1 <= deaths <= 6)
    row(fault, "it alone is dead-lettered, as `crashed`", f"{dead}", dead == [(name, "crashed") for name in killer])
