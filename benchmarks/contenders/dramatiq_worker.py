"""Dramatiq. Its messages are its own: an actor's name, id, options and arguments around the payload."""

from __future__ import annotations

import os
import sys
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.settings import Settings
from benchmarks.workload import Work, handle_blocking, play, publish_all_blocking

if os.environ.get("BENCH_QUEUES"):  # also read by the worker's child, which imports this module
    _settings = Settings.from_env()
    # Confirmed: https://dramatiq.io/reference.html#dramatiq.brokers.rabbitmq.RabbitmqBroker
    # Messages are persistent, and acked when the actor has returned: https://dramatiq.io/guide.html#message-delivery
    broker = RabbitmqBroker(url=_settings.broker_url, confirm_delivery=True)
    dramatiq.set_broker(broker)

    def _work(message: dict[str, Any]) -> None:
        handle_blocking(Work.model_validate(message))

    actors = [dramatiq.actor(_work, actor_name=name, queue_name=name) for name in _settings.queues]

QUORUM = "it declares classic queues only"
THREADS = 8
"""Publishing blocks a thread until the confirm, so this is how many are in flight."""


def publish(settings: Settings) -> None:
    """Each thread has a connection of its own."""

    def send(message: Work) -> Any:
        return actors[0].send(message.model_dump())

    broker.declare_queue(settings.queue, ensure=True)
    publish_all_blocking(settings, send, THREADS)


def consume(settings: Settings) -> None:
    """One process. Its threads run the handlers: eight by default, as many as the prefetch for one that waits.

    https://dramatiq.io/guide.html#workers and, for the prefetch, https://dramatiq.io/advanced.html#prefetch-limits
    """
    threads = settings.prefetch if settings.wait else 8
    os.environ["dramatiq_queue_prefetch"] = str(settings.prefetch)  # noqa: SIM112 - its name
    os.execv(
        sys.executable,
        [sys.executable, "-m", "dramatiq", __spec__.name, "--processes", "1", "--threads", str(threads)],
    )


if __name__ == "__main__":
    if os.environ["BENCH_QUEUE_TYPE"] == "quorum":
        play(publish=QUORUM, consume=QUORUM, serve=QUORUM)
    else:
        play(publish=publish, consume=consume, serve="a worker, which has no HTTP")
