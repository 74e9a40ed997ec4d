"""Retries, while the service and the broker die in between."""

from __future__ import annotations

import time
from itertools import pairwise

import pika

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until
from core_tests.tools.rabbitmq_queues import channel

FAILING = 20
GOOD = 500
DELAYS = (1.5, 3.0, 6.0)
DEATH = [{"count": 99, "queue": "somewhere", "reason": "expired", "exchange": "", "routing-keys": ["somewhere"]}]


def test_a_failing_message_has_its_attempts_at_their_times_whoever_dies(world: World, row: WriteRow) -> None:
    keys = {"max_attempts": len(DELAYS) + 1, "initial_delay": DELAYS[0], "multiplier": 2}
    service, sender = world.service(retry=keys, prefetch=10, pause={"after": 0}), world.sender()
    service.start()
    failing = sender.send(FAILING, fail=True)
    began = time.monotonic()
    good = sender.send(GOOD, sleep=0.005)
    world.all_handled(good)
    behind = time.monotonic() - began
    with channel(world.node.url) as ch:
        properties = pika.BasicProperties(message_id="forged", delivery_mode=2, headers={"x-death": DEATH})
        ch.basic_publish("", world.queue, b'{"type": "work", "fail": true}', properties)
    # Between attempts: each process that dies has none of them in flight.
    wait_until(lambda: world.ledger.count("begin") >= GOOD + 2 * FAILING + 2)
    time.sleep(0.5)
    service.kill()
    service.start()
    wait_until(lambda: world.ledger.count("begin") >= GOOD + 3 * FAILING + 3)
    time.sleep(0.5)
    world.node.kill()
    world.node.start()
    wait_until(lambda: world.dead() > FAILING)
    dead = {properties.message_id: properties.headers for properties, _ in world.dead_letters()}
    attempts: dict[str, list[int]] = {}
    times: dict[str, list[float]] = {}
    for entry in world.ledger.entries("begin", {*failing, "forged"}):
        attempts.setdefault(entry.message_id, []).append(entry.attempt)
        times.setdefault(entry.message_id, []).append(entry.at)
    right = sum(attempts.get(name) == [1, 2, 3, 4] for name in (*failing, "forged"))
    spacing = [[b - a for a, b in pairwise(at)] for at in times.values()]
    early = [round(min(gaps), 2) for gaps in zip(*spacing, strict=False)]
    late = [round(max(gaps), 2) for gaps in zip(*spacing, strict=False)]
    fault = "messages fail always; the service and the broker are killed between attempts"
    row(fault, f"each has its {len(DELAYS) + 1} attempts", f"{right} of {FAILING + 1}", right == FAILING + 1)
    row(
        fault,
        f"spaced by {', '.join(f'{delay:g}' for delay in DELAYS)} s",
        f"at least {early}, at most {late} s",
        len(early) == len(DELAYS)
        and all(gap >= delay - 0.1 for gap, delay in zip(early, DELAYS, strict=False))
        and late[0] < DELAYS[0] + 2,
    )
    row(
        fault,
        "then all are in the DLQ, and no x-death decides or travels",
        f"{len(dead)}",
        dead.keys() == {*failing, "forged"}
        and {headers["dlq-reason"] for headers in dead.values()} == {"exhausted"}
        and not any(str(name).startswith("x-death") for headers in dead.values() for name in headers),
    )
    verdict = world.verdict(sender, failing)
    row(
        f"{FAILING} failing messages before {GOOD} good ones",
        "the good are not held up",
        f"{behind:.1f} s",
        behind < 15,
    )
    row(f"{FAILING} failing messages before {GOOD} good ones", "no message is lost", verdict, not verdict.lost)
