"""What a service occupies: in its process, by Linux's /proc and its own word, and at the broker."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

from core_tests.tools.process import ServiceProcess
from core_tests.tools.rabbitmq_node import RabbitMQNode


@dataclass(frozen=True, slots=True)
class Footprint:
    """One count of everything. `memory` is the resident set in KiB, `objects` what the garbage collector knows."""

    memory: int
    objects: int
    tasks: int
    threads: int
    descriptors: int
    connections: int
    channels: int

    def __str__(self) -> str:
        return (
            f"{self.memory / 1024:.1f} MB, {self.objects:,} objects, {self.tasks} tasks, {self.threads} threads, "
            f"{self.descriptors} descriptors, {self.connections} connections, {self.channels} channels"
        )

    def within(self, other: Footprint) -> bool:
        """True if nothing that is counted by ones is more than there."""
        return all(getattr(self, name) <= getattr(other, name) + spare for name, spare in COUNTED.items())


COUNTED = {"tasks": 0, "threads": 4, "descriptors": 0, "connections": 0, "channels": 0}
"""What must not grow, and by how much it may: a queue's pool of handler threads has four to spare, for its suspects."""


def footprint(service: ServiceProcess, node: RabbitMQNode) -> Footprint:
    """Count now. Only the service may be connected to the node."""
    counts = service.get("/counts").content
    process = Path("/proc", str(service.pid))
    status = (process / "status").read_text()

    def figure(name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
        assert found is not None
        return int(found[1])

    return Footprint(
        memory=figure("VmRSS"),
        objects=counts["objects"],
        tasks=counts["tasks"],
        threads=figure("Threads"),
        descriptors=len(list((process / "fd").iterdir())),
        connections=len(node.ctl("-q", "list_connections", "--no-table-headers", "pid").splitlines()),
        channels=len(node.ctl("-q", "list_channels", "--no-table-headers", "pid").splitlines()),
    )


def at_rest(service: ServiceProcess, node: RabbitMQNode) -> Footprint:
    """Of some counts, the last, with the smallest figure of each: health checks and DLQ passes come and go."""
    counts = [footprint(service, node) for _ in range(6)]
    return replace(counts[-1], **{name: min(getattr(count, name) for count in counts) for name in COUNTED})


def settled(service: ServiceProcess, node: RabbitMQNode, expected: Footprint, timeout: float = 60.0) -> Footprint:
    """Count until nothing is more than expected, for `timeout` seconds at most. The caller looks what it is."""
    deadline = time.monotonic() + timeout
    while not (now := footprint(service, node)).within(expected) and time.monotonic() < deadline:
        time.sleep(1)
    return now
