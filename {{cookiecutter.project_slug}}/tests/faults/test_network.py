"""What networks do: reset, refuse, freeze, forget. Under load, with clients that publish meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tests.faults.conftest import WriteRow
from tests.faults.world import World, Worlds, side_by_side, wait_until
from tests.tools.process import Answer

HEARTBEAT = 10
"""The default."""
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


FAULTS: tuple[tuple[str, Callable[[World], None]], ...] = (
    ("connections are reset", reset),
    ("connections are refused for 10 s", refused),
    ("the network freezes for 15 s", frozen),
    ("connections go silent for good; new ones work", silent),
)


def test_a_network_that_fails_loses_nothing_and_hangs_nobody(new_world: Worlds, row: WriteRow) -> None:
    worlds = [new_world() for _ in FAULTS]
    side_by_side(lambda case: one_fault(case[0], row, *case[1]), list(zip(worlds, FAULTS, strict=True)))


def one_fault(world: World, row: WriteRow, fault: str, make: Callable[[World], None]) -> None:
    service, sender = world.service(concurrency=20, prefetch=40), world.sender()
    service.start()
    answers: list[Answer] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.2):
            answers.append(service.publish(world.queue))

    clients = [threading.Thread(target=publish, daemon=True) for _ in range(CLIENTS)]
    with sender.sending(rate=100, sleep=0.15):
        wait_until(lambda: world.ledger.count() > 200)
        for client in clients:
            client.start()
        wait_until(lambda: answers, 10)
        began = time.monotonic()
        in_hand = len(world.ledger.ids("begin") - world.ledger.ids())
        make(world)
        ended = time.monotonic()
        # Through at most three heartbeats, and some: then it flows again, whatever the fault was.
        wait_until(lambda: world.steady(ended), 90)
        again = world.longest_gap(began)[1] - ended
        service.wait_until(lambda: service.get("/health/ready").status == 200, "the service is ready again")
        ready = time.monotonic() - ended
        stop.set()
        for client in clients:
            client.join(60)
    published = {answer.content["message_id"] for answer in answers if answer.status == 202}
    named = {answer.content["message_id"] for answer in answers if answer.content}
    sender.confirmed |= published
    sender.attempted |= named
    world.all_handled(sender.confirmed)
    verdict = world.verdict(sender)
    failures = [answer for answer in answers if answer.status != 202]
    slowest = max((answer.seconds for answer in answers), default=0.0)
    clear = all(answer.status == 503 and answer.content["detail"] for answer in failures)
    row(fault, "messages are in hand at the time", in_hand, in_hand > 0)
    row(fault, "no message is lost", f"{len(sender.confirmed):,} sent: {verdict}", not verdict.lost)
    row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", world.dead() == 0)
    limit = 3 * HEARTBEAT
    row(
        fault,
        f"consuming again within 3 heartbeats ({limit} s)",
        f"{max(0.0, again):.1f} s after its end, ready after {ready:.1f} s",
        again < limit,
    )
    row(
        fault,
        f"a publish ends within {PUBLISH_TIMEOUT} s: done, or a clear error",
        f"{len(answers)} publishes, {len(failures)} times 503, the slowest {slowest:.1f} s",
        bool(published) and clear and slowest < PUBLISH_TIMEOUT + 2,
    )
