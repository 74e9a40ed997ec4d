"""What reading a delivery and publishing a message cost with the aiormq that is installed: CPU, in microseconds.

    python docs/upstream/benchmark.py [broker URL]

For the patched one: a copy of aiormq with the patch, in a folder that PYTHONPATH names.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time

import aiormq
import aiormq.connection
import pamqp.frame
from aiormq import spec
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

URL = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672/")
COUNT, ROUNDS, AT_ONCE = 5_000, 7, 200
BODY = b"x" * 100


def properties(number: int) -> spec.Basic.Properties:
    """Those of a message that is kept on disk."""
    return spec.Basic.Properties(message_id=f"{number:032}", delivery_mode=2, content_type="application/json")


def deliveries() -> bytes:
    """As a broker sends them."""
    frames = [
        pamqp.frame.marshal(frame, 1)
        for number in range(COUNT)
        for frame in (
            spec.Basic.Deliver("ctag1.0123456789abcdef", number, False, "", "orders"),
            ContentHeader(0, len(BODY), properties(number)),
            ContentBody(BODY),
        )
    ]
    return b"".join(frames)


async def reading(stream: bytes) -> float:
    """CPU of a delivery, whose frames come in chunks of 64 KiB."""
    reader = asyncio.StreamReader()

    async def feed() -> None:
        for at in range(0, len(stream), 65_536):
            reader.feed_data(stream[at : at + 65_536])
            await asyncio.sleep(0)

    started = time.process_time()
    feeding = asyncio.create_task(feed())
    receiver = aiormq.connection.FrameReceiver(reader)
    for _ in range(3 * COUNT):
        await receiver.get_frame()
    await feeding
    return (time.process_time() - started) / COUNT * 1e6


async def publishing(channel: aiormq.abc.AbstractChannel, queue: str) -> float:
    """CPU of a message that the broker confirms; some are on their way at a time."""
    source = iter(range(COUNT))

    async def publish() -> None:
        for number in source:
            await channel.basic_publish(BODY, routing_key=queue, properties=properties(number), wait=False)

    started = time.process_time()
    await asyncio.gather(*(publish() for _ in range(AT_ONCE)))
    return (time.process_time() - started) / COUNT * 1e6


async def main() -> None:
    """Print the medians and the least."""
    stream = deliveries()
    show("reading a delivery", [await reading(stream) for _ in range(ROUNDS)])
    connection = await aiormq.connect(URL)
    channel = await connection.channel()
    declared = await channel.queue_declare(exclusive=True)
    assert declared.queue is not None
    show("publishing a message", [await publishing(channel, declared.queue) for _ in range(ROUNDS)])
    await connection.close()


def show(what: str, figures: list[float]) -> None:
    """A line."""
    print(f"{what}: {statistics.median(figures):.1f} us (least {min(figures):.1f}), {aiormq.__file__}")


if __name__ == "__main__":
    asyncio.run(main())
