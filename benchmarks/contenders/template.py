"""The service that this template bakes: `python -m app` in the baked project, as its Dockerfile runs it."""

from __future__ import annotations

import os
import sys

from benchmarks.settings import Settings
from benchmarks.workload import Work, play, publish_all, run


def _enter_project(settings: Settings) -> None:
    """What queues.yaml of the baked project takes from the environment, and where it is."""
    os.environ["RABBITMQ_URL"] = settings.broker_url
    os.environ["PREFETCH"] = os.environ["CONCURRENCY"] = str(settings.prefetch)
    os.environ["QUEUE_TYPE"] = settings.queue_type
    os.environ["API_KEY"] = "bench"
    os.environ["PORT"] = str(settings.port)
    os.environ["LOG_LEVEL"] = "WARNING"
    os.chdir(settings.project)
    sys.path.insert(0, settings.project)


def publish(settings: Settings) -> None:
    """The public API of the service: `publish_message()` returns once the broker has confirmed."""
    _enter_project(settings)
    from app.queue.config import load_queues  # noqa: PLC0415 - from the baked project
    from app.queue.setup import get_publisher  # noqa: PLC0415

    async def main() -> None:
        publishers = [(queue.name, get_publisher(queue)) for queue in load_queues().queues]
        for _, publisher in publishers:
            await publisher.open()

        async def send(message: Work) -> None:
            queue, publisher = publishers[message.id % len(publishers)]
            await publisher.publish_message(queue, message)

        await publish_all(settings, send)
        for _, publisher in publishers:
            await publisher.close()

    run(main())


def serve(settings: Settings) -> None:
    """The same process, by `exec`: what is measured is the service and nothing else."""
    _enter_project(settings)
    if not settings.queues:
        os.environ["QUEUE_ROLE"] = "api"
    os.execv(sys.executable, [sys.executable, "-m", "app"])


if __name__ == "__main__":
    play(publish=publish, consume=serve, serve=serve)
