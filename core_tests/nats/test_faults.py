"""Faults under load, with real processes: `python -m app` with a handler that keeps a ledger, at servers of our own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.queue.interfaces import QueuePublisher
from app.queue.setup import get_dead_letters, get_publisher
from core_tests.contract.subject import Sender
from core_tests.tools.example import queue_config
from core_tests.tools.ledger import Ledger, check
from core_tests.tools.nats_node import NatsNode
from core_tests.tools.nats_streams import jetstream
from core_tests.tools.ports import free_port
from core_tests.tools.process import ServiceProcess
from core_tests.tools.proxy import Proxy
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]

QUEUE = "faults"
KEYS: dict[str, Any] = {"ack_wait": 3, "retry": {"max_attempts": 5, "initial_delay": 0.2}, "dlq": {"retry_interval": 0}}


class Load:
    """Two services that reach the servers through proxies, and a sender that goes there directly."""

    def __init__(self, nodes: list[NatsNode], folder: Path, stack: ExitStack, **keys: Any) -> None:
        self.proxies = [Proxy(node.port) for node in nodes]
        for proxy in self.proxies:
            stack.callback(proxy.close)
        self.ledger = Ledger(folder / "ledger")
        stack.callback(self.ledger.close)
        urls = [f"nats://127.0.0.1:{proxy.port}" for proxy in self.proxies]
        queue = {"name": QUEUE, "type": "nats", "broker_url": urls, **KEYS, **keys}
        document = yaml.safe_dump({"queues": [queue], "drain": {"delay": 0, "timeout": 10}})
        self.services = [
            ServiceProcess("core_tests.tools.ledger_service", document, folder, LEDGER=str(self.ledger.path))
            for _ in range(2)
        ]
        for service in self.services:
            stack.callback(service.kill)
        self.config = queue_config(QUEUE, "nats", broker_url=[node.url for node in nodes], **KEYS, **keys)
        self.publisher: QueuePublisher = get_publisher(self.config)
        self.sender = Sender(self.publisher, QUEUE, {"type": "work", "sleep": 0.002})

    async def during(self, fault: Callable[[], Any]) -> set[str]:
        """Do `fault()` in a thread while messages flow. Returns those that were handled twice; none must be lost."""
        await asyncio.to_thread(lambda: [service.start() for service in self.services])
        going_on = True

        async def send_on() -> None:
            while going_on:
                await self.sender.send(20, in_flight=10)
                await asyncio.sleep(0.02)

        sending = asyncio.create_task(send_on())
        await eventually(lambda: self.ledger.count() > 200, "messages flow")
        await asyncio.to_thread(fault)
        before = self.ledger.count()
        await eventually(lambda: self.ledger.count() > before + 200, "messages flow again", 60)
        going_on = False
        await sending
        await eventually(lambda: self.sender.confirmed <= self.ledger.ids(), "all that was confirmed is handled", 60)
        verdict = check(self.ledger, self.sender.confirmed, self.sender.attempted)
        dead_letters = get_dead_letters(self.config)
        assert await dead_letters.depth() == 0
        await dead_letters.close()
        await self.publisher.close()
        assert not verdict.lost
        assert not verdict.unexpected
        return set(verdict.duplicated)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be ended after the test."""
    if NatsNode.find_server() is None:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("nats-server is not installed, and this test kills its own")
        pytest.skip("nats-server is not installed, and this test kills its own")
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def node(stack: ExitStack) -> NatsNode:
    """A server of the test's own."""
    node = NatsNode()
    stack.callback(node.remove)
    node.start()
    return node


@pytest.fixture
async def load(node: NatsNode, stack: ExitStack, tmp_path: Path) -> AsyncIterator[Load]:
    load = Load([node], tmp_path, stack)
    yield load
    await load.publisher.close()


async def test_nothing_is_lost_when_the_server_is_killed(load: Load, node: NatsNode) -> None:
    def fault() -> None:
        for _ in range(3):
            node.kill()
            time.sleep(1)
            node.start()
            time.sleep(3)

    await load.during(fault)


async def test_nothing_is_lost_when_a_service_is_killed(load: Load) -> None:
    def fault() -> None:
        for number in range(4):
            load.services[number % 2].kill()
            load.services[number % 2].start()
            time.sleep(1)

    await load.during(fault)


async def test_nothing_is_lost_when_the_network_freezes_breaks_or_forgets(load: Load) -> None:
    def fault() -> None:
        load.proxies[0].mode("freeze")
        time.sleep(8)
        load.proxies[0].mode("pass")
        time.sleep(2)
        load.proxies[0].drop()
        time.sleep(2)
        load.proxies[0].mode("silent")

    await load.during(fault)


async def test_a_rolling_restart_repeats_nothing_and_suspects_nobody(load: Load) -> None:
    def fault() -> None:
        for number in range(4):
            service = load.services[number % 2]
            os.kill(service.pid, signal.SIGTERM)
            while not service.ended:
                time.sleep(0.05)
            service.start()
            time.sleep(0.5)

    assert not await load.during(fault)
    assert not any("was in flight elsewhere and not settled" in service.log for service in load.services)


@pytest.mark.parametrize("what", ["frozen", "dead"])
async def test_sigterm_ends_the_service_whatever_the_link_is_like(load: Load, node: NatsNode, what: str) -> None:
    def fault() -> None:
        if what == "frozen":
            load.proxies[0].mode("freeze")
        else:
            node.kill()
        service = load.services[0]
        os.kill(service.pid, signal.SIGTERM)
        for _ in range(300):
            if service.ended:
                break
            time.sleep(0.1)
        assert service.ended
        load.proxies[0].mode("pass")
        node.keep_running()
        service.start()

    await load.during(fault)


async def test_a_cluster_goes_on_when_the_leader_of_the_queue_is_killed(stack: ExitStack, tmp_path: Path) -> None:
    nodes, ports = [NatsNode() for _ in range(3)], [free_port() for _ in range(3)]
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
    for node, port in zip(nodes, ports, strict=True):
        stack.callback(node.remove)
        node.configure(f'cluster {{ name: "c", listen: "127.0.0.1:{port}", routes: [{routes}] }}')
        node.start()
    load = Load(nodes, tmp_path, stack, replicas=3)

    async def leader() -> NatsNode:
        async with jetstream(nodes[0].url if nodes[0].running else nodes[1].url) as streams:
            cluster = (await streams.stream_info(QUEUE)).cluster
            assert cluster is not None
            return next(node for node in nodes if cluster.leader == f"node{node.port}")

    def fault() -> None:
        for _ in range(2):
            killed = asyncio.run(leader())
            killed.kill()
            handled = load.ledger.count()
            while load.ledger.count() < handled + 200:  # goes on without it
                time.sleep(0.1)
            killed.start()
            time.sleep(4)

    await load.during(fault)
