"""Faults under load, with real processes: `python -m app` with a handler that keeps a ledger, at our own server."""

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
from redis.asyncio import Redis

from app.queue.interfaces import Place, QueuePublisher
from app.queue.setup import get_dead_letters, get_publisher
from core_tests.contract.subject import Sender
from core_tests.tools.example import queue_config
from core_tests.tools.ledger import Ledger, check
from core_tests.tools.process import ServiceProcess
from core_tests.tools.proxy import Proxy
from core_tests.tools.redis_node import RedisNode
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]

QUEUE = "faults"
KEYS: dict[str, Any] = {"ack_wait": 3, "retry": {"max_attempts": 5, "initial_delay": 0.2}, "dlq": {"retry_interval": 0}}


class Load:
    """Two services that reach the server through a proxy, and a sender that goes there directly."""

    def __init__(self, node: RedisNode, folder: Path, stack: ExitStack) -> None:
        self.node = node
        self.proxy = Proxy(node.port)
        stack.callback(self.proxy.close)
        self.ledger = Ledger(folder / "ledger")
        stack.callback(self.ledger.close)
        queue = {"name": QUEUE, "type": "redis", "broker_url": f"redis://127.0.0.1:{self.proxy.port}", **KEYS}
        document = yaml.safe_dump({"queues": [queue], "drain": {"delay": 0, "timeout": 10}})
        self.services = [
            ServiceProcess("core_tests.tools.ledger_service", document, folder, LEDGER=str(self.ledger.path))
            for _ in range(2)
        ]
        for service in self.services:
            stack.callback(service.kill)
        self.config = queue_config(QUEUE, "redis", broker_url=node.url, **KEYS)
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
        over_at, before = time.monotonic(), self.ledger.count()
        await eventually(lambda: self.ledger.count() > before, "a message is handled again", 60)
        again_after = time.monotonic() - over_at
        await eventually(lambda: self.ledger.count() > before + 200, "messages flow again", 60)
        going_on = False
        await sending
        await eventually(lambda: self.sender.confirmed <= self.ledger.ids(), "all that was confirmed is handled", 60)
        verdict = check(self.ledger, self.sender.confirmed, self.sender.attempted)
        print(  # shown by `pytest -rP`
            f"confirmed {len(self.sender.confirmed)}, lost {len(verdict.lost)}, handled twice "
            f"{len(verdict.duplicated)}, consuming again after {again_after:.1f} s"
        )
        assert not verdict.lost
        assert not verdict.unexpected
        for place in (Place.DLQ, Place.QUARANTINE, Place.PARKED):
            reader = get_dead_letters(self.config, place)
            assert await reader.depth() == 0
            await reader.close()
        await self.publisher.close()
        return set(verdict.duplicated)

    def seen(self, more: int) -> None:
        """Wait, in a thread, until so many more messages are handled."""
        count = self.ledger.count()
        while self.ledger.count() < count + more:
            time.sleep(0.05)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is to be ended after the test."""
    if RedisNode.find_server() is None:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("redis-server is not installed, and this test kills its own")
        pytest.skip("redis-server is not installed, and this test kills its own")
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def node(stack: ExitStack) -> RedisNode:
    """A server of the test's own."""
    node = RedisNode()
    stack.callback(node.remove)
    node.start()
    return node


@pytest.fixture
async def load(node: RedisNode, stack: ExitStack, tmp_path: Path) -> AsyncIterator[Load]:
    load = Load(node, tmp_path, stack)
    yield load
    await load.publisher.close()


async def test_nothing_is_lost_when_the_server_is_killed(load: Load, node: RedisNode) -> None:
    def fault() -> None:
        for number in range(5):
            node.kill()
            time.sleep(1)
            node.start()
            if number < 4:
                load.seen(200)

    await load.during(fault)


async def test_nothing_is_lost_when_a_service_is_killed(load: Load) -> None:
    def fault() -> None:
        for number in range(10):
            load.services[number % 2].kill()
            load.services[number % 2].start()
            load.seen(50)

    await load.during(fault)


async def test_nothing_is_lost_when_the_network_freezes_breaks_or_forgets(load: Load) -> None:
    def fault() -> None:
        load.proxy.mode("freeze")
        time.sleep(8)
        load.proxy.mode("pass")
        load.seen(100)
        load.proxy.drop()
        load.seen(100)
        load.proxy.mode("silent")

    await load.during(fault)


async def test_a_network_that_breaks_for_less_than_ack_wait_repeats_nothing(load: Load) -> None:
    def fault() -> None:
        for _ in range(10):
            load.proxy.drop()
            load.seen(50)

    assert not await load.during(fault)
    assert not any("was in flight elsewhere and not settled" in service.log for service in load.services)


async def test_nothing_that_is_published_after_the_data_were_deleted_is_lost(load: Load, node: RedisNode) -> None:
    async def flush() -> None:
        async with Redis.from_url(node.url) as client:
            await client.flushall()

    def fault() -> None:
        asyncio.run(flush())
        load.sender.confirmed.clear()  # what was confirmed, and not yet handled, went with the rest
        began, count = time.monotonic(), load.ledger.count()
        while load.ledger.count() < count + 50:
            time.sleep(0.05)
        assert time.monotonic() - began < 5

    await load.during(fault)
    assert any("is not there any more" in service.log for service in load.services)


async def test_a_rolling_restart_repeats_nothing_and_suspects_nobody(load: Load) -> None:
    def fault() -> None:
        for number in range(4):
            service = load.services[number % 2]
            os.kill(service.pid, signal.SIGTERM)
            while not service.ended:
                time.sleep(0.05)
            service.start()
            load.seen(50)

    assert not await load.during(fault)
    assert not any("was in flight elsewhere and not settled" in service.log for service in load.services)


@pytest.mark.parametrize("what", ["frozen", "dead"])
async def test_sigterm_ends_the_service_whatever_the_link_is_like(load: Load, node: RedisNode, what: str) -> None:
    def fault() -> None:
        if what == "frozen":
            load.proxy.mode("freeze")
        else:
            node.kill()
        service = load.services[0]
        began = time.monotonic()
        os.kill(service.pid, signal.SIGTERM)
        for _ in range(300):
            if service.ended:
                break
            time.sleep(0.1)
        assert service.ended
        print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")
        load.proxy.mode("pass")
        node.keep_running()
        service.start()

    await load.during(fault)
