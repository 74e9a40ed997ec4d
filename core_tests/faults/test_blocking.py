"""A handler that blocks its event loop; and handlers whose link breaks while they run."""

from __future__ import annotations

import threading
import time

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until

HEARTBEAT = 2
SECONDS = 4 * HEARTBEAT


def test_a_handler_that_blocks_its_loop_holds_up_neither_http_nor_other_threads(world: World, row: WriteRow) -> None:
    other = f"{world.queue}_other"
    service = world.service(queues=(other,), heartbeat=HEARTBEAT)
    sender, beside = world.sender(), world.sender(other)
    service.start()
    live: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.02):
            live.append(service.get("/health/live").seconds)

    blocking = sender.send(1, block=SECONDS)
    wait_until(lambda: world.ledger.count("begin", blocking) == 1)
    began = time.monotonic()
    client = threading.Thread(target=ask, daemon=True)
    client.start()
    sender.send(30)
    slowest, trips = 0.0, 0
    while time.monotonic() < began + SECONDS - 1:
        slowest = max(slowest, world.all_handled(beside.send(1), 10))
        trips += 1
    stop.set()
    client.join(30)
    world.all_handled(sender.confirmed)
    time.sleep(2 * HEARTBEAT)
    live.sort()
    p99 = live[int(len(live) * 0.99)] * 1000
    sender.attempted |= beside.attempted
    calls, verdict = world.ledger.count("begin", blocking), world.verdict(sender)
    fault = f"a handler blocks its loop for {SECONDS} s: more than 3 heartbeats of {HEARTBEAT} s"
    row(fault, "/health/live within 100 ms (p99)", f"{p99:.0f} ms of {len(live)}", p99 < 500)
    row(fault, "a queue of another thread goes on", f"{trips} messages, {slowest:.2f} s at most", slowest < 2)
    row(fault, "it is called once, and nothing is lost", f"{calls} calls, {verdict}", calls == 1 and not verdict.lost)
    row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", world.dead() == 0)
    named = "blocks the event loop" in service.log and "in act" in service.log
    row(fault, "the log names the handler", "yes" if named else "no", named)


def test_a_handler_whose_link_breaks_is_not_run_beside_itself(world: World, row: WriteRow) -> None:
    service, sender = world.service(), world.sender()
    service.start()
    ids = {name for kind in ("work", "plain") for name in sender.send(5, sleep=3, type=kind)}
    wait_until(lambda: world.ledger.count("begin") == len(ids))
    world.proxy.drop()
    world.all_handled(ids)
    wait_until(lambda: world.ledger.count("begin") > len(ids), 2)
    calls = world.ledger.count("begin")
    fault = "the link breaks under 10 handlers of 3 s, async and plain"
    row(
        fault,
        "each is called once, and acked on the next link",
        f"{calls} calls, {world.dead()} in the DLQ",
        calls == len(ids) and world.dead() == 0,
    )
    service.terminate()
    row(fault, "nothing is left in the queue", f"{world.depth()}", world.depth() == 0)
