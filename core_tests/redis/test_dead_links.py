"""Links that die, or say nothing any more, and what is left of them."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress
from typing import Any

import pytest
from redis.asyncio import Redis

from app.queue.errors import BrokerError, BrokerUnavailableError, PublishError
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_health_check, get_processor
from core_tests.redis.private import Start, publisher
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.proxy import Proxy
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.mark.parametrize("mode", ["silent", "freeze"])
async def test_a_link_that_goes_silent_is_found_lost_by_the_health_check(start: Start, mode: Any) -> None:
    proxy = Proxy(start().port)
    try:
        config = queue_config("q", "redis", broker_url=f"127.0.0.1:{proxy.port}", heartbeat=3600)
        handler = UserHandler()
        async with running((config, handler)) as service:
            await service.publisher("q").publish_message("q", audio(1))
            await eventually(lambda: len(handler.handled) == 1, "it is handled")
            proxy.mode(mode)
            await eventually(lambda: service.health().status == "unhealthy", "it is noticed")
            proxy.mode("pass")
            await eventually(lambda: service.health().status == "healthy", "there is another link")
            await service.publisher("q").publish_message("q", audio(2))
            await eventually(lambda: len(handler.handled) == 2, "it is handled")
    finally:
        proxy.close()


async def test_a_link_that_goes_silent_is_lost_without_a_health_check_too(start: Start) -> None:
    proxy = Proxy(start().port)
    try:
        async with publisher(f"127.0.0.1:{proxy.port}", heartbeat=1) as made:
            await made.open()
            proxy.mode("freeze")
            async with asyncio.timeout(30):
                assert "has not answered" in await made.lost()
            assert made.state == "down"
            proxy.mode("pass")
            await made.publish_message("q", audio())
    finally:
        proxy.close()


async def test_a_quiet_link_is_kept_and_asked_once_a_heartbeat(start: Start) -> None:
    node = start()
    async with publisher(node.url, heartbeat=2) as made, Redis.from_url(node.url) as client:
        await made.open()
        await client.config_resetstat()
        lost = asyncio.create_task(made.lost())
        await asyncio.sleep(6)
        assert not lost.done()
        lost.cancel()
        assert 1 <= (await client.info("commandstats"))["cmdstat_ping"]["calls"] <= 3


async def test_what_waits_on_a_link_that_breaks_is_told_at_once(start: Start) -> None:
    proxy = Proxy(start().port)
    try:
        async with publisher(f"127.0.0.1:{proxy.port}", publish_timeout=60) as made:
            await made.open()
            proxy.mode("freeze")
            publishing = asyncio.create_task(made.publish_message("q", audio()))
            await asyncio.sleep(0.2)
            began = time.monotonic()
            proxy.mode("refuse")
            with pytest.raises(PublishError) as caught:
                await publishing
            assert caught.value.may_have_landed
            assert time.monotonic() - began < 20
    finally:
        proxy.close()


def sockets() -> int:
    """How many sockets the running loop looks after."""
    loop: Any = asyncio.get_running_loop()
    return len(loop._selector.get_map())


@pytest.mark.parametrize("mode", ["freeze", "refuse"])
async def test_closing_ends_in_bounded_time_over_a_dead_link(start: Start, mode: Any) -> None:
    proxy = Proxy(start().port)
    before = sockets()
    try:
        config = queue_config("q", "redis", broker_url=f"127.0.0.1:{proxy.port}", publish_timeout=1)
        consumer, processor = get_consumer(config, MessageProcessor()), get_processor(config)
        got: list[Any] = []

        async def keep(delivery: Any) -> None:
            got.append(delivery)

        consumer.on_delivery = keep
        await consumer.open()
        async with publisher(f"127.0.0.1:{proxy.port}", publish_timeout=1) as made:
            await made.publish_message("q", audio())
            await eventually(lambda: len(got) == 1, "it is in flight")
            proxy.mode(mode)
            for _ in range(5):  # more than the buffers of the system hold
                with pytest.raises(BrokerError):
                    await made.publish_message("q", audio(content="x" * 1_000_000))
            with pytest.raises(BrokerError):
                await processor.ack(got[0])
            async with asyncio.timeout(10):
                await asyncio.gather(consumer.close(), processor.close(), made.close())
        gc.collect()
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left behind")
        await eventually(lambda: sockets() == before, "and no socket")
    finally:
        proxy.close()


async def test_links_that_break_under_load_leave_nothing_behind(start: Start) -> None:
    proxy = Proxy(start().port)
    before = sockets()
    try:
        async with publisher(f"127.0.0.1:{proxy.port}", circuit_breaker={"fail_max": 1000}) as made:
            ended = False

            async def publish_on() -> None:
                while not ended:
                    with suppress(PublishError):
                        await made.publish_message("q", audio(content="x" * 20_000))

            publishing = [asyncio.create_task(publish_on()) for _ in range(20)]
            for _ in range(10):
                await asyncio.sleep(0.2)
                proxy.drop()
            ended = True
            await asyncio.gather(*publishing)
        gc.collect()
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left behind")
        await eventually(lambda: sockets() == before, "and no socket")
    finally:
        proxy.close()


async def test_a_server_that_dies_is_told_by_the_next_probe(start: Start) -> None:
    node = start()
    async with publisher(node.url) as made:
        await made.open()
        health = get_health_check(queue_config("q", "redis", broker_url=node.url))
        await health.probe()
        node.kill()
        await eventually(lambda: made.state == "down", "the loss is seen")
        with pytest.raises(BrokerUnavailableError, match=r"refused|failed"):
            await made.open()
