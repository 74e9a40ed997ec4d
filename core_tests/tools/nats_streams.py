"""What the tests do to the streams of a server, without the service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from nats.aio.client import Client
from nats.js import JetStreamContext


@asynccontextmanager
async def jetstream(url: str) -> AsyncIterator[JetStreamContext]:
    """A connection of its own."""
    client = Client()
    await client.connect(url, allow_reconnect=False)
    try:
        yield client.jetstream()
    finally:
        await client.close()


def delete_streams(url: str, queue: str) -> None:
    """Delete all streams of a queue."""

    async def delete(streams: JetStreamContext) -> None:
        for stream in await streams.streams_info():
            if stream.config.name is not None and queue in stream.config.name:
                await streams.delete_stream(stream.config.name)

    _run(url, delete)


@contextmanager
def full(url: str) -> Iterator[None]:
    """Inside, no stream of the server takes a message more."""

    async def limit(streams: JetStreamContext, max_bytes: int) -> None:
        for stream in await streams.streams_info():
            await streams.update_stream(stream.config, max_bytes=max_bytes)

    _run(url, lambda streams: limit(streams, 1))
    try:
        yield
    finally:
        _run(url, lambda streams: limit(streams, -1))


def _run(url: str, function: Callable[[JetStreamContext], Awaitable[None]]) -> None:
    async def call() -> None:
        async with jetstream(url) as streams:
            await function(streams)

    # In a thread of its own, because there may be an event loop in this one.
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(call())
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
