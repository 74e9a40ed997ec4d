"""A link that goes silent while one of its channels is being closed: the next link must not be taken for it."""

from __future__ import annotations

import asyncio

from app.queue.providers.rabbitmq.channel import Channel
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.connection import Purpose, close
from tests.faults.conftest import WriteRow
from tests.faults.world import World

FAULT = "a link goes silent while a channel on it is closed"
CHANNELS = 10


async def test_channels_on_the_next_link_are_closed_as_ever(world: World, row: WriteRow) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{world.proxy.port}/"
    config = RabbitMQQueueConfig(name=world.queue, type="rabbitmq", broker_url=url)
    one, other, kept = (Channel(config, Purpose.PUBLISH) for _ in range(3))
    await one.open()
    await other.open()
    silent = other.connection
    world.proxy.mode("silent")
    async with asyncio.TaskGroup() as group:
        group.create_task(one.close())
        await asyncio.sleep(0.1)
        group.create_task(close(silent))  # as the health check does it
        await asyncio.sleep(0.1)
        await kept.open()
    before = len(asyncio.all_tasks())
    for _ in range(CHANNELS):
        channel = Channel(config, Purpose.PUBLISH)
        await channel.open()
        await channel.close()
    after = len(asyncio.all_tasks())
    at_first = kept.connection is not silent and kept.is_open
    await other.close()
    await kept.close()
    row(
        FAULT,
        "on the next link channels are closed as ever",
        f"{before} tasks before {CHANNELS} more channels, {after} after",
        at_first and after <= before,
    )
