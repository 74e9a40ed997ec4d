"""What all messages need is down for a while; and one bad message among good ones."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World
from core_tests.tools.places import dlq_name
from core_tests.tools.rabbitmq_queues import depth

MESSAGES = 500


def test_an_outage_of_what_every_handler_needs_pauses_consuming(world: World, row: WriteRow) -> None:
    other = f"{world.queue}_other"
    service, second = (world.service(queues=(other,), retry={"initial_delay": 1}) for _ in range(2))
    outages = [(5, world.queue, world.sender(), "database"), (20, other, world.sender(other), "mailer")]
    for _, _, _, what in outages:
        world.break_down(what)
    service.start()
    second.start()
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        for _, _, sender, what in outages:
            pool.submit(sender.send, MESSAGES, rate=125, needs=what)
    for down, queue, sender, what in outages:
        state = service.health(queue)["consumer"]
        time.sleep(max(0.0, began + down - time.monotonic()))
        calls = world.ledger.count("begin", sender.attempted)
        world.mend(what)
        again = world.all_handled(sender.confirmed, 60)
        lost = len(sender.confirmed - world.ledger.ids())
        dead = max(0, depth(world.node.url, dlq_name(queue)))
        most = 5 * MESSAGES + 2 * down
        fault = (
            f"what all handlers need is down for {down} s, while {len(sender.confirmed)} messages come to 2 instances"
        )
        row(fault, "consuming pauses, and health says so", state, state == "paused")
        row(fault, f"it probes: at most {most} calls", f"{calls} calls", calls <= most)
        row(fault, "all are handled afterwards", f"lost {lost}, after {again:.1f} s", not lost and again < 45)
        row(fault, "none is in the DLQ", f"{dead}", not dead)


def test_one_bad_message_among_good_ones_pauses_nothing(world: World, row: WriteRow) -> None:
    service, sender = world.service(retry={"initial_delay": 0.1}), world.sender()
    service.start()
    bad = sender.send(1, fail=True)
    sender.send(400, rate=200)
    world.all_handled(sender.confirmed - bad)
    time.sleep(2)
    pauses = service.log.count("so consuming pauses")
    verdict = world.verdict(sender, bad)
    fault = "one bad message among 400 good ones"
    row(fault, "nothing pauses", f"{pauses} pauses, {verdict}", not pauses and not verdict.lost)
