"""The passes over a DLQ: killed in the middle, made by two at once, and over what never succeeds."""

from __future__ import annotations

import time
from functools import partial

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until

MESSAGES = 600
KILLS = 3


def fewer_than(world: World, count: int) -> bool:
    return world.dead() < count


def test_passes_that_are_killed_or_made_by_two_lose_nothing(world: World, row: WriteRow) -> None:
    sender = world.sender()
    filling = world.service(retry={"max_attempts": 1}, pause={"after": 0})
    world.break_down("database")
    filling.start()
    sender.send(MESSAGES, needs="database")
    wait_until(lambda: world.dead() == MESSAGES)
    filling.kill()
    world.mend("database")
    one, two = (world.service(retry={"max_attempts": 1}, dlq={"retry_interval": 2}) for _ in range(2))
    two.start(ready_within=0)
    kills = 0
    for _ in range(KILLS):
        one.start()
        left = world.dead()
        wait_until(partial(fewer_than, world, left), 10, 0.005)
        kills += 0 < world.dead() < MESSAGES
        one.kill()
    one.start()
    world.all_handled(sender.confirmed)
    parked = {properties.message_id for properties, _ in world.parked()}
    verdict = world.verdict(sender, parked)
    fault = f"two services go over a DLQ of {MESSAGES}; one is killed in a pass, {kills} times"
    row(
        fault,
        "no message is lost, and none is parked",
        f"{verdict}, parked {len(parked)}",
        not verdict.lost and not parked,
    )
    # What was sent back by a pass that was killed before its ack is there still, until the next pass.
    wait_until(lambda: world.dead() == 0, 30)
    row(fault, "the DLQ is empty afterwards", f"{world.dead()}", world.dead() == 0)


def test_what_keeps_failing_is_parked(world: World, row: WriteRow) -> None:
    attempts, returns, count = 2, 2, 30
    service = world.service(
        retry={"max_attempts": attempts, "initial_delay": 0.1},
        dlq={"retry_interval": 1, "max_retries": returns},
        pause={"after": 0},
    )
    service.start()
    ids = world.sender().send(count, fail=True)
    parked: list[str] = []

    def all_parked() -> bool:
        parked.extend(properties.message_id for properties, _ in world.parked())
        return len(parked) >= count

    seconds = wait_until(all_parked, 40)
    time.sleep(1.5)
    all_parked()
    calls = {world.ledger.count("begin", {name}) for name in ids}
    fault = f"{count} messages fail for ever, with max_attempts {attempts} and max_retries {returns}"
    row(
        fault,
        "they are parked, each once",
        f"{len(parked)} after {seconds:.0f} s",
        sorted(parked) == sorted(ids) and world.dead() == 0 and world.depth() == 0,
    )
    row(
        fault,
        "their handler is called so often and no more",
        f"{sorted(calls)} times",
        calls == {attempts * (1 + returns)},
    )
