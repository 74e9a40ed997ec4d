"""What every fault needs: a node, a proxy in front of it, a ledger, services that write to it, senders."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from app.queue.config import RetryConfig
from core_tests.tools.ledger import Ledger, Verdict, check
from core_tests.tools.places import dlq_name, parked_name
from core_tests.tools.process import ServiceProcess
from core_tests.tools.proxy import Proxy
from core_tests.tools.rabbitmq_node import RabbitMQNode
from core_tests.tools.rabbitmq_queues import delete_queues, depth, drain
from core_tests.tools.rabbitmq_sender import Sender

Case = TypeVar("Case")
RETRY = {"max_attempts": 5, "initial_delay": 0.5}


class World:
    """Services reach the node through the proxy; senders and observers go there directly."""

    def __init__(self, node: RabbitMQNode, folder: Path) -> None:
        self.node = node
        self.proxy = Proxy(node.port)
        self.queue = f"faults_{uuid.uuid4().hex[:8]}"
        self.ledger = Ledger(folder / "ledger")
        self.services: list[ServiceProcess] = []
        self._folder = folder
        self._retries: dict[str, RetryConfig] = {}

    def service(
        self,
        *,
        url: str = "",
        drain: float = 20.0,
        queues: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        **keys: Any,
    ) -> ServiceProcess:
        """A service for the world's queue and these `queues`, with these keys for each; not started."""
        defaults = {
            "type": "rabbitmq",
            "broker_url": url or f"amqp://guest:guest@127.0.0.1:{self.proxy.port}/",
            "retry": RETRY,
            "dlq": {"retry_interval": 0},
        }
        names = (self.queue, *queues)
        document = {
            "queues": [{**defaults, "name": name, **keys} for name in names],
            "drain": {"delay": 1, "timeout": drain},
        }
        for name in names:
            self._retries[name] = RetryConfig.model_validate({**RETRY, **keys.get("retry", {})})
        service = ServiceProcess(
            "core_tests.tools.ledger_service",
            yaml.safe_dump(document),
            self._folder,
            LEDGER=str(self.ledger.path),
            **(environment or {}),
        )
        self.services.append(service)
        return service

    def break_down(self, what: str) -> None:
        """From now on, every message fails that says it `needs` this."""
        self.ledger.path.with_suffix(f".{what}-is-down").touch()

    def mend(self, what: str) -> None:
        """The opposite of `break_down()`."""
        self.ledger.path.with_suffix(f".{what}-is-down").unlink()

    def sender(self, queue: str = "") -> Sender:
        """A confirmed sender to the world's queue, or another."""
        return Sender(self.node.url, queue or self.queue)

    def verdict(self, sender: Sender, elsewhere: set[str] | frozenset[str] = frozenset()) -> Verdict:
        """What became of the sender's messages."""
        return check(self.ledger, sender.confirmed, sender.attempted, elsewhere)

    def all_handled(self, ids: set[str], timeout: float = 60.0) -> float:
        """Wait until each of these was handled, for `timeout` seconds at most. Returns the seconds."""
        return wait_until(lambda: ids <= self.ledger.ids(), timeout)

    def steady(self, since: float) -> bool:
        """True if messages have been handled for three seconds without a gap, all after that monotonic time."""
        now = time.monotonic()
        times = [entry.at for entry in self.ledger.entries("done") if entry.at > now - 3]
        return now > since + 3 and len(times) > 100 and all(b - a < 1 for a, b in pairwise([now - 3, *times, now]))

    def longest_gap(self, since: float) -> tuple[float, float]:
        """When the longest time in which nothing was handled began and ended, after that monotonic time."""
        times = [since, *(entry.at for entry in self.ledger.entries("done") if entry.at > since)]
        return max(pairwise(times), key=lambda gap: gap[1] - gap[0])

    def depth(self) -> int:
        """Messages ready in the queue."""
        return depth(self.node.url, self.queue)

    def dead(self) -> int:
        """Messages ready in the DLQ."""
        return max(0, depth(self.node.url, dlq_name(self.queue)))

    def dead_letters(self) -> list[tuple[Any, bytes]]:
        """Take what is in the DLQ: (properties, body) each."""
        return drain(self.node.url, dlq_name(self.queue))

    def parked(self) -> list[tuple[Any, bytes]]:
        """Take what is in the parking queue."""
        return drain(self.node.url, parked_name(self.queue))

    def close(self) -> None:
        """Kill the services, delete the queues, mend the node."""
        for service in self.services:
            service.kill()
        self.proxy.close()
        self.ledger.close()
        self.node.keep_running()
        for queue, retry in self._retries.items():
            delete_queues(self.node.url, queue, retry)


class Worlds:
    """Makes worlds at one node, and closes them."""

    def __init__(self, node: RabbitMQNode, folder: Path) -> None:
        self._node = node
        self._folder = folder
        self.made: list[World] = []

    def __call__(self) -> World:
        """One more, with a folder of its own."""
        folder = self._folder / f"world-{len(self.made)}"
        folder.mkdir()
        self.made.append(World(self._node, folder))
        return self.made[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for world in self.made:
                stack.callback(world.close)


def side_by_side(function: Callable[[Case], None], cases: Sequence[Case]) -> None:
    """Call `function` with every case, all at once. Raises what it raises."""
    with ThreadPoolExecutor(len(cases)) as pool:
        list(pool.map(function, cases))


def wait_until(condition: Callable[[], object], timeout: float = 60.0, interval: float = 0.05) -> float:
    """Return when `condition()` is true, or after `timeout` seconds; with the seconds. The caller looks what is so."""
    began = time.monotonic()
    while not condition() and time.monotonic() - began < timeout:
        time.sleep(interval)
    return time.monotonic() - began
