"""Messages that kill the process, every time."""

from __future__ import annotations

import time

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, Worlds, side_by_side

STARTS = 30
PATIENCE = 200.0
TRIES = 7
"""At most: it is blamed at its sixth death, and a process that is killed while it dies may cost one more."""

KINDS = (("quorum", "work", 2), ("classic", "plain", 1))


def test_messages_that_kill_the_process_are_dead_lettered_and_their_neighbours_are_not(
    new_world: Worlds, row: WriteRow
) -> None:
    worlds = [new_world() for _ in KINDS]
    side_by_side(lambda case: crash(case[0], row, *case[1]), list(zip(worlds, KINDS, strict=True)))


def crash(world: World, row: WriteRow, queue_type: str, kind: str, count: int) -> None:
    service, sender = world.service(queue_type=queue_type), world.sender()
    service.start()
    service.kill()
    guilty: set[str] = set()
    for _ in range(count):
        sender.send(25, sleep=0.1)
        guilty |= sender.send(1, exit=True, sleep=0.1, type=kind)
    sender.send(30, sleep=0.1)
    innocent = sender.confirmed - guilty
    starts = 0
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if service.ended:
            if starts == STARTS:
                break
            service.start(ready_within=0)
            starts += 1
        if world.dead() >= len(guilty) and innocent <= world.ledger.ids():
            break
        time.sleep(0.1)
    time.sleep(1)
    dead = [(properties.message_id, properties.headers.get("dlq-reason")) for properties, _ in world.dead_letters()]
    tries = [world.ledger.count("begin", {name}) for name in guilty]
    verdict = world.verdict(sender, guilty)
    fault = f"{count} of {len(sender.confirmed)} messages call os._exit in their handler ({queue_type}, {kind})"
    row(
        fault,
        "after a few tries it is in the DLQ as `crashed`",
        f"{tries} tries, {starts} starts, DLQ: {[reason for _, reason in dead]}",
        sorted(dead) == sorted((name, "crashed") for name in guilty) and max(tries) <= TRIES,
    )
    row(fault, "its neighbours are handled", verdict, not verdict.lost)
    blamed = len({name for name, _ in dead} & innocent)
    row(fault, "and not blamed", f"{blamed} in the DLQ", blamed == 0)
