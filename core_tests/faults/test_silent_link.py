"""A channel is closed while its link is silent: neither it nor those after it may stay open."""

from __future__ import annotations

import asyncio

from app.queue.providers.rabbitmq.channel import Channel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose
from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World

CHANNELS = 10


def config_of(world: World) -> RabbitMQQueueConfig:
    url = f"amqp://guest:guest@127.0.0.1:{world.proxy.port}/"
    return RabbitMQQueueConfig(name=world.queue, type="rabbitmq", broker_url=url)


async def open_and_close(config: RabbitMQQueueConfig) -> int:
    """Some channels, one after the other. Returns how many tasks there are then: one for each that is left open."""
    for _ in range(CHANNELS):
        channel = Channel(config, Purpose.PUBLISH)
        await channel.open()
        await channel.close()
    return len(asyncio.all_tasks())


async def test_channels_on_the_next_link_are_closed_as_ever(world: World, row: WriteRow) -> None:
    config = config_of(world)
    one, other, kept = (Channel(config, Purpose.PUBLISH) for _ in range(3))
    await one.open()
    await other.open()
    silent = other.connection
    world.proxy.mode("silent")
    async with asyncio.TaskGroup() as group:
        group.create_task(one.close())
        await asyncio.sleep(0.1)
        group.create_task(silent.close())  # as the health check does it
        await asyncio.sleep(0.1)
        await kept.open()
    before = len(asyncio.all_tasks())
    after = await open_and_close(config)
    at_first = kept.connection is not silent and kept.is_open
    await other.close()
    await kept.close()
    row(
        "a link goes silent for good while a channel on it is closed",
        "on the next link channels are closed as ever",
        f"{before} tasks before {CHANNELS} more channels, {after} after",
        at_first and after <= before,
    )


async def test_a_channel_that_was_closed_in_a_freeze_is_closed_after_it(world: World, row: WriteRow) -> None:
    config = config_of(world)
    kept, closed = Channel(config, Purpose.PUBLISH), Channel(config, Purpose.PUBLISH)
    await kept.open()
    before = len(asyncio.all_tasks())
    await closed.open()
    world.proxy.mode("freeze")
    busy = asyncio.create_task(closed.underlay.queue_declare(world.queue))
    await asyncio.sleep(0.1)
    await closed.close()
    world.proxy.mode("pass")
    await asyncio.wait([busy])
    after = await open_and_close(config)
    at_first = kept.is_open
    await kept.close()
    row(
        "a link is frozen while a channel on it is closed",
        "the link lives, and all channels on it are closed",
        f"{before} tasks before {CHANNELS + 1} channels, {after} after; the link {'lives' if at_first else 'is lost'}",
        at_first and after <= before,
    )
