"""The threads that consumers run in: what they leave behind when they end."""

from __future__ import annotations

import asyncio
import threading

from app.queue.run.threads import ConsumerThreads


class Parting:
    """A group that leaves a task, which begins another one when it is cancelled, as aiormq's channels do."""

    name = "parting"
    concurrency = 1

    def __init__(self) -> None:
        self.tasks: list[asyncio.Future[None]] = []
        self.begun = threading.Event()

    async def run(self, stop: asyncio.Event) -> None:
        self.tasks.append(asyncio.create_task(self._leave()))
        await stop.wait()

    async def _leave(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.tasks.append(asyncio.ensure_future(self._last_words()))

    async def _last_words(self) -> None:
        await asyncio.Event().wait()


async def test_a_thread_ends_when_nothing_runs_on_its_loop_any_more() -> None:
    group = Parting()
    threads = ConsumerThreads([group])
    threads.start()
    assert await asyncio.to_thread(group.begun.wait, 10.0)
    assert await threads.stop(grace=10.0, timeout=10.0)
    assert [task.done() for task in group.tasks] == [True, True]
