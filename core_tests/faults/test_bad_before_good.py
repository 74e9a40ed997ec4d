"""Messages that always fail stand before good ones: the good ones hardly wait, whatever the bad ones do."""

from __future__ import annotations

import time
from typing import Any

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, Worlds, side_by_side, wait_until
from core_tests.tools.places import dlq_name

GOOD = 500
DEFAULTS: dict[str, Any] = {"retry": {"initial_delay": 1}}
"""What `queues.yaml` has if nobody says anything, where the other tests are in a hurry."""
PASSED = 1_000
PASS_AFTER = 3.0


def test_bad_messages_before_good_ones_hardly_hold_them_up(new_world: Worlds, row: WriteRow) -> None:
    cases = [(new_world(), bad, within) for bad, within in ((12, 10), (20, 10), (50, 10), (1_000, 30))]
    side_by_side(lambda case: bad_first(*case, row), cases)


def bad_first(world: World, bad: int, within: float, row: WriteRow) -> None:
    service, sender = world.service(**DEFAULTS), world.sender()
    service.start()
    service.terminate()
    failing = sender.send(bad, fail=True)
    good = sender.send(GOOD)
    service.start()
    world.all_handled(good, 60)
    began = next(world.ledger.entries("begin")).at
    last = max((entry.at for entry in world.ledger.entries("done", good)), default=0.0)
    left = len(good - world.ledger.ids())
    calls = world.ledger.count("begin", failing)
    fault = f"{bad} messages that always fail stand before {GOOD} good ones"
    said = f"{last - began:.1f} s, left {left}"
    row(fault, f"the good ones are done within {within} s", said, not left and last - began <= within)
    row(fault, "the bad ones are tried, at most five times each", f"{calls} calls", 0 < calls <= 5 * bad)


def test_a_pass_that_brings_bad_messages_back_stalls_nothing(world: World, row: WriteRow) -> None:
    service = world.service(**DEFAULTS, dlq={"retry_interval": PASS_AFTER})
    service.start()
    sender, dead = world.sender(), world.sender(dlq_name(world.queue))
    failing = dead.send(PASSED, fail=True)
    wait_until(lambda: world.dead() < PASSED, 30)
    began = time.monotonic()
    good = sender.send(GOOD, rate=100)
    world.all_handled(good, 60)
    waits = sorted(entry.at - began for entry in world.ledger.entries("done", good))
    left = len(good - world.ledger.ids())
    fault = f"a pass over the DLQ brings back {PASSED} messages that always fail, while {GOOD} good ones come"
    row(fault, "the good ones are done within 30 s", f"{waits[-1]:.1f} s, left {left}", not left and waits[-1] <= 30)
    calls = world.ledger.count("begin", failing)
    row(fault, "and the bad ones are tried again", f"{calls} calls for {PASSED} messages", calls > 0)
