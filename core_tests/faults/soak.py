"""`make soak MINUTES=10`: mixed load with faults at random, for that long; then all must be where it was.

After a warm-up, and after each minute of load, everything is drained, and counted while nothing moves. Memory may grow
a little; tasks, threads, descriptors, connections and channels not by one.
"""

from __future__ import annotations

import logging
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from core_tests.faults.conftest import Row, Rows, table
from core_tests.faults.footprint import COUNTED, Footprint, at_rest, settled
from core_tests.faults.world import World, Worlds, wait_until
from core_tests.tools.process import API_KEY, ServiceProcess
from core_tests.tools.rabbitmq_node import RabbitMQNode

ROUND = 60.0
"""Seconds of load between two counts."""
SETTLING = 40.0
"""Seconds until the broker has given up connections that went silent: four heartbeats."""
CLIENTS = 3
DRAINED_WITHIN = 180.0
WIDTH = 140

# A second: how many, and what the message says. The last two end in the parking queue.
KINDS: dict[str, tuple[float, dict[str, Any]]] = {
    "quick": (60, {"sleep": 0.01}),
    "plain": (20, {"type": "plain", "sleep": 0.02}),
    "fails once": (10, {"fail_first": True}),
    "slow": (2, {"sleep": 2}),
    "publishes": (10, {"forward": "second"}),
    "publishes from a thread": (5, {"type": "plain", "forward": "second"}),
    "fails": (2, {"fail": True}),
    "rejects": (2, {"reject": True}),
}


class Load:
    """Sends everything, and knows what must become of it."""

    def __init__(self, world: World, service: ServiceProcess, second: str) -> None:
        self.answers: Counter[int] = Counter()
        self.accepted: set[str] = set()
        self.given_up: set[str] = set()
        self._world = world
        self._service = service
        self._senders = {kind: world.sender() for kind in KINDS}
        self._bodies = {
            kind: {**body, "forward": second} if "forward" in body else body for kind, (_, body) in KINDS.items()
        }
        self._parked: set[str] = set()

    @property
    def sent(self) -> int:
        """Messages that the broker has confirmed."""
        return len(self._confirmed())

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send all kinds side by side, and over HTTP, until the end of the block."""
        stop = threading.Event()
        clients = [threading.Thread(target=self._use_http, args=[stop], daemon=True) for _ in range(CLIENTS)]
        with ExitStack() as stack:
            for kind, (rate, _) in KINDS.items():
                stack.enter_context(self._senders[kind].sending(rate, **self._bodies[kind]))
            for client in clients:
                client.start()
            yield
            stop.set()
        for client in clients:
            client.join(60)

    def send_some(self) -> None:
        """A few of each kind, so that whatever was lost and is opened on demand is open again."""
        for kind, body in self._bodies.items():
            self._senders[kind].send(4, **body)
        self._publish()

    def saturate(self) -> None:
        """Enough at a time that every thread that there can be is there."""
        self._senders["plain"].send(200, type="plain", sleep=0.2)

    def lost(self) -> set[str]:
        """What was confirmed, and neither handled nor parked."""
        handled = self._world.ledger.ids()
        self._parked |= {properties.message_id for properties, _ in self._world.parked()}
        publishing = self._senders["publishes"].confirmed | self._senders["publishes from a thread"].confirmed
        passed_on = {f"{name}-on" for name in handled & publishing}
        return (self._confirmed() | passed_on) - handled - self._parked

    def _confirmed(self) -> set[str]:
        return self.accepted.union(*(sender.confirmed for sender in self._senders.values()))

    def _use_http(self, stop: threading.Event) -> None:
        queue = self._world.queue
        path, key = f"/queues/{queue}/messages", {"X-API-Key": API_KEY}
        others: list[Callable[[], Any]] = [
            lambda: self._service.request("POST", path, b"{}", {"X-API-Key": "wrong"}),
            lambda: self._service.request("POST", path, b"no JSON", key),
            lambda: self._service.request("POST", "/queues/nobody/messages", b"{}", key),
            lambda: self._service.request("POST", path, b" " * 2_000_000, key),
            lambda: self._service.request("POST", path, b"{", {**key, "Content-Length": "100"}, timeout=0.2),
            lambda: self._service.get("/health/queue"),
            lambda: self._service.get("/metrics"),
        ]
        while not stop.wait(0.1):
            self._publish()
            if random.random() < 0.3:
                random.choice(others)()

    def _publish(self) -> None:
        answer = self._service.publish(self._world.queue)
        self.answers[answer.status] += 1
        if answer.status == 202:
            self.accepted.add(answer.content["message_id"])


class Faults:
    """What befalls the service's link and its broker, one after the other."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.made: Counter[str] = Counter()

    def for_a_round(self) -> None:
        """Each once, in random order, with random pauses; then at random until the round is over."""
        ends = time.monotonic() + ROUND
        waiting = random.sample(FAULTS, len(FAULTS))
        while time.monotonic() < ends:
            time.sleep(random.uniform(2, 8))
            fault = waiting.pop() if waiting else random.choice(FAULTS)
            fault(self)
            self.made[fault.__name__] += 1

    def reset(self) -> None:
        """All connections are reset."""
        self._world.proxy.drop()

    def refused(self) -> None:
        """For some seconds none is let in."""
        self._world.proxy.mode("refuse")
        time.sleep(random.uniform(0.5, 5))
        self._world.proxy.mode("pass")

    def frozen(self) -> None:
        """For some seconds nothing moves."""
        self._world.proxy.mode("freeze")
        time.sleep(random.uniform(0.5, 12))
        self._world.proxy.mode("pass")

    def silent(self) -> None:
        """The connections of this moment swallow all."""
        self._world.proxy.mode("silent")

    def broker_killed(self) -> None:
        """`kill -9`, and a start after some time."""
        self._world.node.kill()
        time.sleep(random.uniform(0, 3))
        self._world.node.start()


FAULTS: list[Callable[[Faults], None]] = [
    Faults.reset,
    Faults.refused,
    Faults.frozen,
    Faults.silent,
    Faults.broker_killed,
]


def soak(world: World, minutes: int) -> Rows:
    """Warm up, load for so many minutes, and say what has grown."""
    second = f"{world.queue}_second"
    service = world.service(
        queues=(second,),
        retry={"max_attempts": 3, "initial_delay": 0.3},
        dlq={"retry_interval": 2, "max_retries": 1},
        pause={"after": 0},  # the last ones of a round all fail, and would wait for one that does not
    )
    service.start()
    load, faults = Load(world, service, second), Faults(world)
    counted: list[Footprint] = []
    pid = service.pid
    for minute in range(minutes + 1):
        with load.running():
            faults.for_a_round()
        service.wait_until(lambda: service.get("/health/ready").status == 200, "the service is ready again")
        load.saturate()
        load.send_some()
        drained = wait_until(lambda: load.lost() <= load.given_up, DRAINED_WITHIN, 0.5)
        load.given_up |= load.lost()
        if counted:
            counted.append(settled(service, world.node, counted[0]))
        else:
            time.sleep(SETTLING)
            counted.append(at_rest(service, world.node))
        what = f"minute {minute}" if minute else "warm-up"
        print(f"{what}: {counted[-1]}; {load.sent:,} sent, drained after {drained:.0f} s", flush=True)
        if load.given_up:
            print(f"lost: {', '.join(sorted(load.given_up))}", flush=True)
    assert service.pid == pid
    return rows(counted, load, faults, service.ended)


def rows(counted: list[Footprint], load: Load, faults: Faults, ended: bool) -> Rows:
    """The counts after the warm-up, in the middle and at the end; a lost link would mend a leak, so the largest too."""
    begin, middle, end = counted[0], counted[len(counted) // 2], counted[-1]
    made = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(faults.made.items()))
    fault = f"{len(counted) - 1} minutes of load; with the warm-up: {made}"
    lost = load.lost()
    said = ", ".join(f"{count:,} times {status}" for status, count in sorted(load.answers.items()))
    memory = [f"{count.memory / 1024:.1f}" for count in (begin, middle, end)]
    return [
        Row(fault, "no message is lost", f"{load.sent:,} sent: lost {len(lost)}", not lost),
        Row(fault, "a publish over HTTP is 202 or 503", said, {*load.answers} <= {202, 503}),
        Row(fault, "the process lives", "it ended" if ended else "it does", not ended),
        Row(
            fault,
            "memory: at most a tenth and 5 MB more",
            f"{' → '.join(memory)} MB",
            end.memory <= begin.memory * 1.1 + 5 * 1024,
        ),
        Row(
            fault,
            "objects: at most a twentieth more",
            f"{begin.objects:,} → {middle.objects:,} → {end.objects:,}",
            end.objects <= begin.objects * 1.05,
        ),
        *(
            Row(
                fault,
                f"{name}: {'no' if not spare else f'at most {spare}'} more than after the warm-up",
                f"{' → '.join(str(getattr(count, name)) for count in (begin, middle, end))}, "
                f"{max(getattr(count, name) for count in counted)} at most",
                all(getattr(count, name) <= getattr(begin, name) + spare for count in counted),
            )
            for name, spare in COUNTED.items()
        ),
    ]


def main(arguments: list[str]) -> int:
    """Exit code 1 if a row does not hold."""
    minutes = int(arguments[0]) if arguments else 10
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.disable()  # the senders' libraries would give a traceback for each link that is lost
    node, folder = RabbitMQNode(), Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        node.start()
        with Worlds(node, folder) as new_world:
            found = soak(new_world(), minutes)
    finally:
        node.remove()
    print(table(found, WIDTH))
    if not all(row.held for row in found):
        print(f"The service's log and the ledger are in {folder}.")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
