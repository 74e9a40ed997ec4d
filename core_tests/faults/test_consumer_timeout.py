"""RabbitMQ takes back what is not acked within `consumer_timeout`, and marks what anybody looked at as redelivered."""

from __future__ import annotations

import time
from collections import Counter

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, Worlds, side_by_side
from core_tests.tools.places import dlq_name
from core_tests.tools.process import ServiceProcess
from core_tests.tools.rabbitmq_queues import channel, depth

TAKEN_BACK_AFTER = 8.0
"""Seconds; 30 minutes by default."""
TAKEN_BACK = "delivery acknowledgement on channel"
A_DEATH = "was in flight elsewhere and not settled"
OUTAGE = 30.0
LOOKED_AT = 40


def test_what_the_broker_takes_back_after_a_time_is_no_death(new_world: Worlds, row: WriteRow) -> None:
    worlds = [new_world() for _ in range(3)]
    cases = (a_long_thread, a_slow_queue, an_outage)
    with worlds[0].node.consumer_timeout(TAKEN_BACK_AFTER):
        side_by_side(lambda case: case[0](case[1], row), list(zip(cases, worlds, strict=True)))


def a_long_thread(world: World, row: WriteRow) -> None:
    """Nothing can stop a plain function, and the service was not told how long the broker waits."""
    services = [world.service() for _ in range(2)]
    for service in services:
        service.start()
    sender = world.sender()
    ids = sender.send(1, type="plain", sleep=30)
    world.all_handled(ids, 120)
    time.sleep(35)  # as long as another run would take
    fault = f"a plain function runs for 30 s, consumer_timeout is {TAKEN_BACK_AFTER:g} s, 2 instances"
    closed, deaths = said(services, TAKEN_BACK), said(services, A_DEATH)
    runs = world.ledger.count("begin")
    row(fault, "it is run once by each at most", f"{runs} runs, {closed} channels closed", runs <= len(services))
    row(fault, "and stands at no more than one death", f"{deaths} in all", deaths <= 1)
    left = world.depth() + world.dead()
    row(fault, "it is done, and nowhere else", f"{left} left, {world.ledger.count()} done", not left)


def a_slow_queue(world: World, row: WriteRow) -> None:
    """What waits in the prefetch counts, too."""
    services = [world.service(concurrency=1, prefetch=10, handler_timeout=3, consumer_timeout=TAKEN_BACK_AFTER)]
    services[0].start()
    sender = world.sender()
    sender.send(20, sleep=2)
    world.all_handled(sender.confirmed, 120)
    fault = f"20 handlers of 2 s, one at a time, prefetch 10, consumer_timeout {TAKEN_BACK_AFTER:g} s"
    write_calm(world, services, row, fault)
    twice = sum(
        1 for count in Counter(entry.message_id for entry in world.ledger.entries("begin")).values() if count > 1
    )
    row(fault, "none runs twice", f"{twice}", not twice)


def an_outage(world: World, row: WriteRow) -> None:
    """All fail, so consuming pauses, and what waits must not wait for longer than the broker lets it."""
    services = [world.service(handler_timeout=3, consumer_timeout=TAKEN_BACK_AFTER) for _ in range(2)]
    world.break_down("database")
    for service in services:
        service.start()
    sender = world.sender()
    sender.send(200, needs="database")
    time.sleep(OUTAGE)
    world.mend("database")
    again = world.all_handled(sender.confirmed, 90)
    lost = len(sender.confirmed - world.ledger.ids())
    fault = f"an outage of {OUTAGE:g} s, prefetch 20, consumer_timeout {TAKEN_BACK_AFTER:g} s"
    row(fault, "all are handled afterwards", f"lost {lost}, after {again:.1f} s", not lost)
    write_calm(world, services, row, fault)
    twice = world.ledger.count() - len(world.ledger.ids())
    row(
        fault, "none is done twice, none is dead", f"{twice} twice, {world.dead()} dead", not twice and not world.dead()
    )


def write_calm(world: World, services: list[ServiceProcess], row: WriteRow, fault: str) -> None:
    closed, deaths = said(services, TAKEN_BACK), said(services, A_DEATH)
    row(fault, "no channel is closed, no death counted", f"{closed} closed, {deaths} deaths", not closed and not deaths)


def said(services: list[ServiceProcess], what: str) -> int:
    """How often it is in their logs."""
    return sum(service.log.count(what) for service in services)


def test_a_look_into_a_queue_costs_nothing(world: World, row: WriteRow) -> None:
    """As the management page does it: it takes messages and gives them back, and they count as redelivered then."""
    service = world.service()
    service.start()
    service.kill()
    sender = world.sender()
    sender.send(LOOKED_AT)
    with channel(world.node.url) as ch:
        for _ in range(LOOKED_AT):
            method, _, _ = ch.basic_get(world.queue)
            assert method is not None
        ch.basic_nack(0, multiple=True, requeue=True)
    sender.send(LOOKED_AT)
    service.start()
    seconds = world.all_handled(sender.confirmed)
    fault = f"somebody looked at {LOOKED_AT} of {2 * LOOKED_AT} messages"
    lost = len(sender.confirmed - world.ledger.ids())
    row(fault, "all are handled at once", f"lost {lost}, after {seconds:.1f} s", not lost and seconds < 10)
    warned = sum(" WARNING " in line and world.queue in line for line in service.log.splitlines())
    row(fault, "and nobody is warned", f"{warned} warnings", not warned)
    dead = max(0, depth(world.node.url, dlq_name(world.queue)))
    row(fault, "none is dead", f"{dead}", not dead)
