"""The broker is out of memory: it takes no messages, and gives out those that it has."""

from __future__ import annotations

import time

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until
from core_tests.tools.ledger import Ledger

FAULT = "the broker has a memory alarm"
HELD = 7
"""Seconds: longer than a publish may take, after which a message that could not be moved could be run again."""


def rate(ledger: Ledger, seconds: float = 2.0) -> float:
    """Messages handled a second, measured now."""
    before = ledger.count()
    time.sleep(seconds)
    return (ledger.count() - before) / seconds


def test_a_memory_alarm_blocks_publishing_at_once_and_consuming_not_at_all(world: World, row: WriteRow) -> None:
    service, sender = world.service(retry={"initial_delay": 0.3}), world.sender()
    service.start()
    failing: set[str] = set()
    for good in (2400, 300):  # their turn comes when the alarm is there, that of the second five when it is known
        sender.send(good, sleep=0.05)
        failing |= sender.send(5, fail_first=True)
    sender.send(100, sleep=0.05)
    before = rate(world.ledger)
    with world.node.memory_alarm():
        during = rate(world.ledger)
        first = service.publish(world.queue, "alarm-0")
        rest = [service.publish(world.queue, f"alarm-{number}") for number in range(1, 8)]
        health, ready = service.health(world.queue), service.get("/health/ready").status
        world.all_handled(sender.confirmed - failing)
        left = len(sender.confirmed - failing - world.ledger.ids())
        time.sleep(HELD)
        held = world.ledger.count("begin", failing)
    back = service.wait_until(lambda: service.get("/health/ready").status == 200, "the service is ready again")
    back += service.wait_until(lambda: service.publish(world.queue).status == 202, "it publishes again")
    repeat = service.publish(world.queue, "alarm-0")
    world.all_handled(sender.confirmed)
    wait_until(lambda: world.ledger.count("done", {"alarm-0"}) == 2, 10)
    slowest = max(answer.seconds for answer in rest)
    row(
        FAULT,
        "publishing answers 503, the first within 1 s, the others at once",
        f"{first.status} after {first.seconds:.1f} s, then {slowest:.2f} s at most",
        {first.status, *(answer.status for answer in rest)} == {503} and first.seconds < 3 and slowest < 2,
    )
    landed = world.ledger.count("done", {"alarm-0"}) - 1
    row(
        FAULT,
        "one that may land says so, with its id for a repeat",
        f"{first.content['message_id']}, may_have_landed {first.content['may_have_landed']}; it landed {landed} times",
        first.content["may_have_landed"] is True
        and first.content["message_id"] == "alarm-0"
        and not any(answer.content["may_have_landed"] for answer in rest)
        and repeat.status == 202,
    )
    row(
        FAULT,
        "health tells, and the breaker opens",
        f"publisher {health['publisher']}, breaker {health['circuit_breaker']}, consumer {health['consumer']}",
        (health["publisher"], health["circuit_breaker"], health["consumer"], ready)
        == ("blocked", "open", "running", 503),
    )
    words = [f"{world.queue}: the broker accepts {what}" for what in ("no messages", "messages again")]
    wait_until(lambda: all(word in service.log for word in words), 10)  # it looks twice a second
    told = [word in service.log for word in words]
    row(FAULT, "its begin and its end are told", f"in the log: {told}", all(told))
    row(
        FAULT,
        "consuming goes on at its rate",
        f"{before:.0f}/s before, {during:.0f}/s in it, {left} left at its end",
        during > before / 3 and not left,
    )
    row(
        FAULT,
        "what can't be moved is held, not spun",
        f"{held} calls for {len(failing)} failing, {HELD} s later",
        held == len(failing),
    )
    row(FAULT, "all is well after it, without a restart", f"after {back:.1f} s", back < 15)
    sender.attempted |= world.ledger.ids() - sender.confirmed  # those over HTTP
    verdict = world.verdict(sender)
    row(FAULT, "no message is lost", f"{len(sender.confirmed):,} sent: {verdict}", not verdict.lost)
