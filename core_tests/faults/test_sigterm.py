"""SIGTERM: with handlers at work, with handlers that won't end, with no broker, with a network that is frozen."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, Worlds, side_by_side, wait_until
from core_tests.tools.process import ServiceProcess

HANDLERS = 23
"""Not a multiple of the acks that are sent together: the last ones go because the service ends."""
DELAY = 1.0
"""Seconds for which a load balancer is shown 503: part of every figure here."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a service ended: after how many seconds, and in which of them `/health/ready` said 503, draining."""

    seconds: float
    draining: float
    ready_again: int


def end(service: ServiceProcess, timeout: float = 60.0) -> Ending:
    """SIGTERM, and look at `/health/ready` until the end."""
    began = time.monotonic()
    service.signal(signal.SIGTERM)
    draining: list[float] = []
    unready = ready_again = 0
    while not service.ended and time.monotonic() - began < timeout:
        answer = service.request("GET", "/health/ready", timeout=1.0)
        if answer.status == 503 and answer.content["status"] == "draining":
            draining.append(time.monotonic() - began)
        unready += answer.status == 503
        ready_again += bool(unready) and answer.status == 200
        time.sleep(0.02)
    seconds = time.monotonic() - began
    service.kill()
    return Ending(seconds, draining[-1] - draining[0] if draining else 0.0, ready_again)


def test_handlers_at_work_finish_and_nothing_is_handled_twice(world: World, row: WriteRow) -> None:
    service, sender = world.service(concurrency=HANDLERS, prefetch=2 * HANDLERS), world.sender()
    service.start()
    sender.send(HANDLERS, sleep=3)
    wait_until(lambda: world.ledger.count("begin") == HANDLERS)
    time.sleep(0.5)
    ending = end(service)
    before = world.ledger.count()
    service.start()
    wait_until(lambda: world.ledger.count("begin") > HANDLERS, 8)
    calls, verdict = world.ledger.count("begin"), world.verdict(sender)
    fault = f"SIGTERM with {HANDLERS} handlers at work, for 2.5 s more"
    row(fault, "they finish, and the exit is prompt", f"{before} finished, {ending.seconds:.1f} s", before == HANDLERS)
    row(
        fault,
        "nothing is lost, nothing is begun twice",
        f"{calls} calls, {verdict}",
        not verdict.lost and not verdict.duplicated and calls == HANDLERS,
    )
    row(
        fault,
        "/health/ready says 503, draining, before the port closes",
        f"for {ending.draining:.1f} s",
        ending.draining > DELAY / 2 and not ending.ready_again,
    )
    assert ending.seconds < 10


LONG: tuple[tuple[str, dict[str, Any]], ...] = (
    ("an async handler", {"sleep": 600}),
    ("a plain handler", {"sleep": 600, "type": "plain"}),
    ("a handler that blocks its loop", {"block": 600}),
)


def test_a_handler_longer_than_the_grace_period_does_not_hold_the_exit(new_world: Worlds, row: WriteRow) -> None:
    worlds = [new_world() for _ in LONG]
    side_by_side(lambda case: one_long_handler(case[0], row, *case[1]), list(zip(worlds, LONG, strict=True)))


def one_long_handler(world: World, row: WriteRow, what: str, body: dict[str, Any]) -> None:
    grace = 2.0
    service, sender = world.service(drain=grace), world.sender()
    service.start()
    ids = sender.send(1, **body)
    wait_until(lambda: world.ledger.count("begin") == 1)
    ending = end(service)
    service.start(ready_within=0)
    again = wait_until(lambda: world.ledger.count("begin", ids) == 2, 30)
    fault = f"SIGTERM with {what} of 600 s, and {grace:g} s of grace"
    row(fault, "the exit is prompt", f"{ending.seconds:.1f} s", ending.seconds < DELAY + grace + 7)
    row(fault, "it is redelivered afterwards", f"{again:.1f} s after the next start", again < 30)


def no_broker(world: World) -> None:
    world.node.kill()


def frozen(world: World) -> None:
    world.proxy.mode("freeze")


@pytest.mark.parametrize(("what", "make"), [("the broker dead", no_broker), ("the link frozen", frozen)])
def test_it_ends_within_five_seconds_without_a_broker(
    world: World, row: WriteRow, what: str, make: Callable[[World], None]
) -> None:
    service, sender = world.service(concurrency=HANDLERS, prefetch=2 * HANDLERS), world.sender()
    service.start()
    sender.send(HANDLERS, sleep=2)
    wait_until(lambda: world.ledger.count("begin") == HANDLERS)
    make(world)
    ending = end(service)
    fault = f"SIGTERM with {what}, and {HANDLERS} handlers of 2 s"
    row(fault, "it ends within 5 s", f"{ending.seconds:.1f} s", ending.seconds < 6)
    world.proxy.mode("pass")
    world.node.keep_running()
    service.start()
    world.all_handled(sender.confirmed)
    verdict = world.verdict(sender)
    row(fault, "no message is lost", verdict, not verdict.lost)
