# The template's: an update changes it. Which files are yours: README.md.
"""Where the parts are put together: `get_consumer`, `get_publisher`, `get_processor`, and the lifespan of the app."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI

from app.queue import api, api_batch, health_check
from app.queue.config import load_queues
from app.queue.consume.quarantine import Quarantine
from app.queue.consume.worker import QueueWorker
from app.queue.dead_letters import DeadLetterPasses
from app.queue.errors import ConfigError
from app.queue.handlers.register_handlers import register_handlers
from app.queue.instrumentation import prometheus
from app.queue.interfaces import DeadLetterQueueHandler, QueueConsumer, QueueHealthCheck, QueueProcessor, QueuePublisher
from app.queue.messages.message import Place
from app.queue.middleware import HandleMiddleware, PerLoop, PublishMiddleware, check_middleware
from app.queue.processor import MessageProcessor
from app.queue.providers import find_provider
from app.queue.publishing import Publishers
from app.queue.run.process import DrainSignals, end_at_once, log_to_stderr, long_lived, role, short_turns
from app.queue.run.service import QueueService
from app.queue.run.sides import Factories
from app.queue.settings.queues import QueueConfig, QueuesConfig

logger = logging.getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def get_dispatcher() -> MessageProcessor:
    """A MessageProcessor with every handler of `app/queue/handlers/`."""
    dispatcher = MessageProcessor()
    register_handlers(dispatcher)
    return dispatcher


def get_consumer(config: QueueConfig, dispatcher: MessageProcessor | None = None) -> QueueConsumer:
    """The consumer of a queue, not connected."""
    return find_provider(config.type).consumer(config.name, config, dispatcher or get_dispatcher())


def get_publisher(config: QueueConfig, middleware: Sequence[PublishMiddleware] = ()) -> QueuePublisher:
    """The publisher of a queue. It connects on first use; `await publisher.close()` in the end."""
    return find_provider(config.type).publisher(config.name, config, (prometheus.count_publishing, *middleware))


def get_processor(config: QueueConfig) -> QueueProcessor:
    """What settles the deliveries of a queue, not connected."""
    return find_provider(config.type).processor(config.name, config)


def get_dead_letters(config: QueueConfig, place: Place = Place.DLQ) -> DeadLetterQueueHandler:
    """The reader of a queue's dead-letter queue, or of another of its places, not connected."""
    return find_provider(config.type).dead_letters(config.name, config, place)


def get_health_check(config: QueueConfig) -> QueueHealthCheck:
    """What asks the broker whether it is there."""
    return find_provider(config.type).health_check(config.name, config)


def build_service(
    config: QueuesConfig,
    dispatcher: MessageProcessor,
    handle_middleware: Sequence[HandleMiddleware | PerLoop[HandleMiddleware]] = (),
    publish_middleware: Sequence[PublishMiddleware | PerLoop[PublishMiddleware]] = (),
) -> QueueService:
    """The service for this configuration, not started. It changes nothing of the process. Raises ConfigError."""

    def publishers(middleware: Sequence[PublishMiddleware]) -> Publishers:
        return Publishers(config, partial(get_publisher, middleware=middleware))

    def worker(queue: QueueConfig, middleware: Sequence[HandleMiddleware]) -> QueueWorker:
        consumer, processor = get_consumer(queue, dispatcher), get_processor(queue)
        claims = find_provider(queue.type).claims
        return QueueWorker(queue, consumer, processor, dispatcher, claims, (prometheus.count_handling, *middleware))

    def quarantine(worker: QueueWorker) -> Quarantine:
        config, old = worker.config, None
        if find_provider(config.type).claims.outlives_process:
            old = get_dead_letters(config, Place.OLD_QUARANTINE)
        return Quarantine(worker, get_dead_letters(config, Place.QUARANTINE), old)

    def passes(queue: QueueConfig) -> DeadLetterPasses:
        return DeadLetterPasses(queue, get_dead_letters(queue), get_processor(queue))

    check_middleware([*handle_middleware, *publish_middleware])
    for name in dispatcher.queues():
        if config.queue(name) is None:
            logger.warning("there is a handler for queue %r, and no such queue in queues.yaml", name)
    parts = Factories(handle_middleware, publish_middleware, publishers, worker, quarantine, passes, get_health_check)
    return QueueService(config, dispatcher, parts, role())


def queue_lifespan(
    handle_middleware: Sequence[HandleMiddleware | PerLoop[HandleMiddleware]] = (),
    publish_middleware: Sequence[PublishMiddleware | PerLoop[PublishMiddleware]] = (),
    register: Callable[[MessageProcessor], None] = register_handlers,
) -> Lifespan:
    """A lifespan like `lifespan_handler`, with middleware, or other handlers than those of `app/queue/handlers/`.

    The process is the application's, so this is where it is changed: it logs, SIGTERM drains, threads take short turns,
    and a thread that is stuck in a handler keeps no process alive that a signal asked to end.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            log_to_stderr()
            prometheus.check_shared_metrics()
            dispatcher = MessageProcessor()
            register(dispatcher)
            service = build_service(load_queues(), dispatcher, handle_middleware, publish_middleware)
        except ConfigError as error:
            logger.critical("%s", error)
            raise
        prometheus.show(service.config)
        app.state.queue_service = service
        app.state.batches = asyncio.Semaphore(api_batch.AT_A_TIME)
        _include_routers(app)
        signals = DrainSignals(service.begin_drain, service.config.drain.delay)
        with short_turns():
            await service.start()
            try:
                with signals, long_lived():
                    yield
            finally:
                stuck = await service.stop()
                prometheus.forget_process()
                if stuck and signals.received:
                    end_at_once()

    return lifespan


lifespan_handler: Lifespan = queue_lifespan()
"""The lifespan of a queue service: `app = FastAPI(lifespan=lifespan_handler)`. Adds the routes, too."""


def _include_routers(app: FastAPI) -> None:
    if not getattr(app.state, "queue_routes", False):
        app.state.queue_routes = True
        routers: tuple[Any, ...] = (health_check.router, api.router, api_batch.router)
        for router in routers:
            app.include_router(router)
        app.openapi_schema = None  # made anew, should somebody have asked before the start
