"""`kill -9` of the service, at each moment in a message's life, and under load."""

from __future__ import annotations

import random
import time
from typing import Any

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until

MOMENTS: dict[str, dict[str, Any]] = {
    "before its handler": {"die": "before"},
    "in its handler": {"die": "in"},
    "after its handler, before the ack": {"die": "after"},
    "in a retry queue, before the ack": {"die": "before the ack", "fail_first": True},
    "in a retry queue, after the ack": {"die": "after the ack", "fail_first": True},
    "in the DLQ, before the ack": {"die": "before the ack", "reject": True},
    "in the DLQ, after the ack": {"die": "after the ack", "reject": True},
}
ROUNDS = 2
NEIGHBOURS = 25


def test_a_service_that_dies_again_and_again_loses_nothing_and_blames_nobody(world: World, row: WriteRow) -> None:
    service, sender = world.service(retry={"initial_delay": 1}), world.sender()
    service.start()
    rejected: set[str] = set()
    for moment in [*MOMENTS] * ROUNDS:
        sender.send(NEIGHBOURS, sleep=0.01)
        ids = sender.send(1, **MOMENTS[moment])
        sender.send(NEIGHBOURS, sleep=0.01)
        if "reject" in MOMENTS[moment]:
            rejected |= ids
        wait_until(lambda: service.ended, 30)
        assert service.ended, f"the service did not die with a message {moment}"
        service.start()
    world.all_handled(sender.confirmed - rejected)
    wait_until(lambda: world.dead() >= len(rejected))
    time.sleep(1)
    verdict = world.verdict(sender, rejected)
    dead = {properties.message_id for properties, _ in world.dead_letters()}
    fault = f"the service is killed {ROUNDS * len(MOMENTS)} times, with a message before, in and after each step"
    row(fault, "no message is lost", verdict, not verdict.lost and not verdict.unexpected)
    row(
        fault,
        "in the DLQ are those that belong there",
        f"{len(dead & rejected)} of {len(rejected)}, and {len(dead - rejected)} others",
        dead == rejected,
    )


def test_a_service_that_is_killed_at_random_under_load_loses_nothing(world: World, row: WriteRow) -> None:
    service, sender = world.service(prefetch=20), world.sender()
    service.start()
    kills, prefetch = 4, 20
    with sender.sending(rate=200, sleep=0.02):
        for _ in range(kills):
            time.sleep(random.uniform(0.2, 1.0))
            service.kill()
            service.start()
    caught_up = world.all_handled(sender.confirmed)
    time.sleep(1)
    verdict = world.verdict(sender)
    fault = f"the service is killed under load, {kills} times"
    row(fault, "no message is lost", f"{len(sender.confirmed):,} sent: {verdict}", not verdict.lost)
    row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", world.dead() == 0)
    suspected = service.log.count("was in flight elsewhere and not settled")
    row(
        fault,
        f"hardly more is suspected than was in flight: {kills} times {prefetch} at most",
        f"{suspected}; all was handled {caught_up:.1f} s after the last kill",
        suspected <= 2 * kills * prefetch,
    )
