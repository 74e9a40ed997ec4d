"""Taskiq with taskiq-aio-pika. Its messages are its own: a task's name, id, labels and arguments around the payload."""

from __future__ import annotations

import os
import sys

from taskiq_aio_pika import AioPikaBroker, Exchange, Queue, QueueType

from benchmarks.settings import Settings
from benchmarks.workload import Work, handle, play, publish_all, run

if os.environ.get("BENCH_QUEUES"):  # also read by the worker's child, which imports this module
    _settings = Settings.from_env()
    # Messages are persistent and confirmed as it comes; `qos` is the prefetch.
    # https://taskiq-python.github.io/available-components/brokers.html#aiopikabroker-for-rabbitmq
    broker = AioPikaBroker(
        _settings.broker_url,
        qos=_settings.prefetch,
        exchange=Exchange(name=f"{_settings.queue}_exchange"),
        task_queues=[Queue(name=name, type=QueueType(_settings.queue_type)) for name in _settings.queues],
        dead_letter_queue=Queue(name=f"{_settings.queue}_dead"),
    )

    @broker.task(task_name="work")
    async def work(message: Work) -> None:
        """The arguments are validated by their annotations."""
        await handle(message)


def publish(settings: Settings) -> None:
    """`kiq()` returns when the message is confirmed."""

    async def main() -> None:
        await broker.startup()
        await publish_all(settings, work.kiq)
        await broker.shutdown()

    run(main())


def consume(settings: Settings) -> None:
    """Acked late: https://taskiq-python.github.io/guide/cli.html#acknowledgements"""
    os.execv(
        sys.executable,
        [
            *(sys.executable, "-m", "taskiq", "worker", f"{__spec__.name}:broker"),
            *("--workers", "1", "--ack-type", "when_executed", "--log-level", "WARNING"),
            *("--max-async-tasks", str(settings.prefetch)),
        ],
    )


if __name__ == "__main__":
    play(publish=publish, consume=consume, serve="a worker, which has no HTTP")
