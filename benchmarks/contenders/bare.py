"""aio-pika with nothing around it, as its documentation has it: the floor that every asyncio framework stands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import uvicorn
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from fastapi import FastAPI

from benchmarks.settings import Settings
from benchmarks.workload import Work, handle, play, publish_all, run


def arguments(settings: Settings) -> dict[str, str]:
    """Of a queue."""
    return {"x-queue-type": settings.queue_type}


def persistent(message: Work) -> aio_pika.Message:
    """https://docs.aio-pika.com/rabbitmq-tutorial/2-work-queues.html#message-durability"""
    return aio_pika.Message(
        message.model_dump_json().encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def _on_message(message: AbstractIncomingMessage) -> None:
    # Acked once the block is left, rejected if it raises: the documentation's `message.process()`.
    async with message.process():
        await handle(Work.model_validate_json(message.body))


async def _start_consuming(connection: AbstractRobustConnection, settings: Settings) -> None:
    for name in settings.queues:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=settings.prefetch)
        queue = await channel.declare_queue(name, durable=True, arguments=arguments(settings))
        await queue.consume(_on_message)


def publish(settings: Settings) -> None:
    """Confirms are on by default; an unroutable message is an error with `on_return_raises`.

    https://docs.aio-pika.com/rabbitmq-tutorial/7-publisher-confirms.html
    """

    async def main() -> None:
        async with await aio_pika.connect_robust(settings.broker_url) as connection:
            channel = await connection.channel(on_return_raises=True)
            await channel.declare_queue(settings.queue, durable=True, arguments=arguments(settings))
            exchange = channel.default_exchange
            await publish_all(settings, lambda message: exchange.publish(persistent(message), settings.queue))

    run(main())


def consume(settings: Settings) -> None:
    """Manual acks, at most `prefetch` in flight."""

    async def main() -> None:
        async with await aio_pika.connect_robust(settings.broker_url) as connection:
            await _start_consuming(connection, settings)
            await asyncio.Event().wait()

    run(main())


def serve(settings: Settings) -> None:
    """FastAPI with a connection that the lifespan opens: one channel consumes, one publishes."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            await aio_pika.connect_robust(settings.broker_url) as connection,
            await connection.channel(on_return_raises=True) as channel,
        ):
            app.state.exchange = channel.default_exchange
            await _start_consuming(connection, settings)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/queues/{queue}/messages", status_code=202)
    async def post(queue: str, message: Work) -> dict[str, str]:
        await app.state.exchange.publish(persistent(message), queue)
        return {"status": "accepted"}

    uvicorn.run(app, port=settings.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    play(publish=publish, consume=consume, serve=serve)
