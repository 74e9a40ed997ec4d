"""The threads that consumers run in: what they leave behind when they end."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from app.queue.run.threads import ConsumerThreads, new_event_loop


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


class Looking:
    """A group that says which kind of loop it runs on."""

    name = "looking"
    concurrency = 1
    kind = ""

    async def run(self, stop: asyncio.Event) -> None:
        self.kind = type(asyncio.get_running_loop()).__module__
        await stop.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop has no Windows")
async def test_a_thread_has_the_fast_loop() -> None:
    group = Looking()
    threads = ConsumerThreads([group])
    threads.start()
    assert await threads.stop(grace=10.0, timeout=10.0)
    assert group.kind == "uvloop"


def test_where_there_is_no_uvloop_it_is_the_loop_of_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    assert isinstance(loop, asyncio.BaseEventLoop)
    loop.close()
