"""Celery. Its messages are its own: a protocol 2 header around the arguments."""

from __future__ import annotations

import os
import sys
from typing import Any

from celery import Celery
from kombu import Queue

from benchmarks.settings import Settings
from benchmarks.workload import Work, handle_blocking, play, publish_all_blocking

if os.environ.get("BENCH_QUEUES"):  # also read by the worker, which imports this module
    _settings = Settings.from_env()
    app = Celery("bench", broker=_settings.broker_url)
    app.conf.update(
        # https://docs.celeryq.dev/en/stable/getting-started/backends-and-brokers/rabbitmq.html#using-quorum-queues
        task_queues=[
            Queue(name, routing_key=name, durable=True, queue_arguments={"x-queue-type": _settings.queue_type})
            for name in _settings.queues
        ],
        task_default_queue=_settings.queue,
        task_default_queue_type=_settings.queue_type,
        task_default_exchange=f"{_settings.queue}_exchange",
        task_default_exchange_type="topic" if _settings.queue_type == "quorum" else "direct",
        # Confirmed: https://docs.celeryq.dev/en/stable/userguide/configuration.html#broker-transport-options
        broker_transport_options={"confirm_publish": True},
        # Acked late: https://docs.celeryq.dev/en/stable/userguide/configuration.html#task-acks-late
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )

    @app.task(name="work", pydantic=True)
    def work(message: Work) -> None:
        """Validated: https://docs.celeryq.dev/en/stable/userguide/tasks.html#argument-validation-with-pydantic"""
        handle_blocking(message)


THREADS = 8
"""Publishing blocks a thread until the confirm, so this is how many are in flight."""


def publish(settings: Settings) -> None:
    """Messages are persistent by default (`task_default_delivery_mode`)."""

    def send(message: Work) -> Any:
        return work.apply_async((message.model_dump(),), queue=settings.queue)

    app.amqp.queues[settings.queue].bind(app.connection().default_channel).declare()
    publish_all_blocking(settings, send, THREADS)


def consume(settings: Settings) -> None:
    """One process. `solo` costs least for a handler that takes no time; one that waits gets a pool of threads.

    The prefetch is worker_prefetch_multiplier times concurrency:
    https://docs.celeryq.dev/en/stable/userguide/optimizing.html#prefetch-limits
    """
    if settings.wait:
        pool, multiplier = ["--pool", "threads", "--concurrency", str(settings.prefetch)], 1
    else:
        pool, multiplier = ["--pool", "solo", "--concurrency", "1"], settings.prefetch
    os.execv(
        sys.executable,
        [
            *(sys.executable, "-m", "celery", "-A", f"{__spec__.name}:app", "worker"),
            *(
                "--loglevel",
                "WARNING",
                "--without-gossip",
                "--without-mingle",
                "--prefetch-multiplier",
                str(multiplier),
            ),
            *("-Q", ",".join(settings.queues)),
            *pool,
        ],
    )


if __name__ == "__main__":
    play(publish=publish, consume=consume, serve="a worker, which has no HTTP")
