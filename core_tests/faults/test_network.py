"""What networks do: reset, refuse, freeze, forget. Under load, with clients that publish meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, Worlds, side_by_side, wait_until
from core_tests.tools.process import Answer

HEARTBEAT = 10
"""The default."""
FREEZE = "the network freezes for 15 s"
TOLD_WITHIN = 5.0
"""Seconds; 3.6 on a quiet machine."""
PUBLISH_TIMEOUT = 5
CLIENTS = 3


def reset(world: World) -> None:
    world.proxy.drop()


def refused(world: World) -> None:
    world.proxy.mode("refuse")
    time.sleep(10)
    world.proxy.mode("pass")


def frozen(world: World) -> None:
    world.proxy.mode("freeze")
    time.sleep(15)
    world.proxy.mode("pass")


def silent(world: World) -> None:
    world.proxy.mode("silent")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to the network, and within how many seconds after its end messages are consumed again."""

    name: str
    make: Callable[[World], None]
    within: float = 12.0
    heartbeat: int = HEARTBEAT


FAULTS = (
    Fault("connections are reset", reset),
    Fault("connections are refused for 10 s", refused),
    Fault(FREEZE, frozen),
    Fault("connections go silent for good; new ones work", silent),
    Fault("connections go silent for good, with a heartbeat of 600 s", silent, heartbeat=600),
)


def test_a_network_that_fails_loses_nothing_and_hangs_nobody(new_world: Worlds, row: WriteRow) -> None:
    worlds = [new_world() for _ in FAULTS]
    side_by_side(lambda case: one_fault(case[0], row, case[1]), list(zip(worlds, FAULTS, strict=True)))


def one_fault(world: World, row: WriteRow, case: Fault) -> None:
    fault = case.name
    service, sender = world.service(concurrency=20, prefetch=40, heartbeat=case.heartbeat), world.sender()
    service.start()
    unhealthy: list[float] = []
    answers: list[Answer] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.2):
            answers.append(service.publish(world.queue))

    def look() -> None:
        while not stop.wait(0.1):
            if service.health(world.queue).get("status") == "unhealthy":
                unhealthy.append(time.monotonic())

    clients = [threading.Thread(target=publish, daemon=True) for _ in range(CLIENTS)]
    clients.append(threading.Thread(target=look, daemon=True))
    with sender.sending(rate=100, sleep=0.15):
        wait_until(lambda: world.ledger.count() > 200)
        for client in clients:
            client.start()
        wait_until(lambda: answers, 10)
        began = time.monotonic()
        in_flight = len(world.ledger.ids("begin") - world.ledger.ids())
        case.make(world)
        ended = time.monotonic()
        wait_until(lambda: world.steady(ended), 90)
        again = world.longest_gap(began)[1] - ended
        service.wait_until(lambda: service.get("/health/ready").status == 200, "the service is ready again")
        ready = time.monotonic() - ended
        stop.set()
        for client in clients:
            client.join(60)
    published = {answer.content["message_id"] for answer in answers if answer.status == 202}
    named = {answer.content["message_id"] for answer in answers if answer.content}
    if case.heartbeat > HEARTBEAT:
        world.proxy.drop()  # the broker has not noticed the end either, and keeps for the dead link what was in flight
    sender.confirmed |= published
    sender.attempted |= named
    world.all_handled(sender.confirmed)
    verdict = world.verdict(sender)
    failures = [answer for answer in answers if answer.status != 202]
    slowest = max((answer.seconds for answer in answers), default=0.0)
    clear = all(answer.status == 503 and answer.content["detail"] for answer in failures)
    row(fault, "messages are in flight at the time", in_flight, in_flight > 0)
    row(fault, "no message is lost", f"{len(sender.confirmed):,} sent: {verdict}", not verdict.lost)
    row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", world.dead() == 0)
    row(
        fault,
        f"consuming again within {case.within:g} s",
        f"{max(0.0, again):.1f} s after its end, ready after {ready:.1f} s",
        again < case.within,
    )
    if fault == FREEZE:
        told = min((at - began for at in unhealthy if at >= began), default=60.0)
        row(fault, f"health says so within {TOLD_WITHIN:g} s", f"{told:.1f} s", told <= TOLD_WITHIN)
    row(
        fault,
        f"a publish ends within {PUBLISH_TIMEOUT} s: done, or a clear error",
        f"{len(answers)} publishes, {len(failures)} times 503, the slowest {slowest:.1f} s",
        bool(published) and clear and slowest < PUBLISH_TIMEOUT + 2,
    )
