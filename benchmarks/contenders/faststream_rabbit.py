"""FastStream 0.7 with its RabbitBroker."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from faststream_fastapi import FastStreamAPI

from benchmarks.settings import Settings
from benchmarks.workload import Work, handle, play, publish_all, run


def _queue(name: str, settings: Settings) -> RabbitQueue:
    """https://faststream.ag2.ai/latest/rabbit/declare/"""
    if settings.queue_type == "quorum":
        return RabbitQueue(name, queue_type=QueueType.QUORUM, durable=True)
    return RabbitQueue(name, queue_type=QueueType.CLASSIC, durable=True)


def _options(settings: Settings) -> dict[str, Any]:
    """Prefetch, and an error for an unroutable message; confirms are on by default.

    https://faststream.ag2.ai/latest/rabbit/examples/direct/ and `Channel` in the API reference
    """
    return {
        "default_channel": Channel(prefetch_count=settings.prefetch, on_return_raises=True),
        "logger": None,  # no line of log for each message
    }


def publish(settings: Settings) -> None:
    """`persist=True` makes a message survive the broker: https://faststream.ag2.ai/latest/rabbit/publishing/"""

    async def main() -> None:
        async with RabbitBroker(settings.broker_url, **_options(settings)) as broker:
            queue = _queue(settings.queue, settings)
            await broker.declare_queue(queue)
            await publish_all(settings, lambda message: broker.publish(message, queue, persist=True))

    run(main())


def consume(settings: Settings) -> None:
    """NACK_ON_ERROR puts a failed message back; the default would drop it.

    https://faststream.ag2.ai/latest/getting-started/acknowledgement/
    """
    broker = RabbitBroker(settings.broker_url, **_options(settings))
    for name in settings.queues:
        broker.subscriber(_queue(name, settings), ack_policy=AckPolicy.NACK_ON_ERROR)(_handler())
    run(FastStream(broker, logger=None).run())


def _handler() -> Any:
    async def work(message: Work) -> None:
        await handle(message)

    return work


def serve(settings: Settings) -> None:
    """Its FastAPI integration: https://github.com/faststream-community/faststream_fastapi"""
    broker = RabbitBroker(settings.broker_url, **_options(settings))
    for name in settings.queues:
        broker.subscriber(_queue(name, settings), ack_policy=AckPolicy.NACK_ON_ERROR)(_handler())
    app = FastAPI()

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/queues/{queue}/messages", status_code=202)
    async def post(queue: str, message: Work) -> dict[str, str]:
        await broker.publish(message, queue, persist=True)
        return {"status": "accepted"}

    uvicorn.run(FastStreamAPI(broker, application=app), port=settings.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    play(publish=publish, consume=consume, serve=serve)
