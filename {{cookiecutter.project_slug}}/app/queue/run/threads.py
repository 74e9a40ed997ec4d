# The template's: an update changes it. Which files are yours: README.md.
"""ConsumerThreads: a few threads, each with an event loop of its own, over which the consumers are spread."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

logger = logging.getLogger(__name__)

BLOCKED_AFTER = 2.0
"""Seconds without a turn of its loop after which a thread counts as blocked."""
TICK = 0.25


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop, not set for the thread: uvloop's where there is one (it has no Windows), as uvicorn chooses it."""
    try:
        import uvloop  # noqa: PLC0415 - it is not everywhere
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Group(Protocol):
    """What runs on one of the loops."""

    name: str
    concurrency: int

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then drain and close, in bounded time."""


class _Thread:
    """One thread with its loop. `last_turn` is when the loop last came round."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.loop: asyncio.AbstractEventLoop | None = None
        self.stop: asyncio.Event | None = None
        self.ident = 0
        self.last_turn = time.monotonic()
        self.stop_requested = False
        self.error: str | None = None
        self.ended = False

    def run(self) -> None:
        """Run the group to its end. Whatever it raises is logged: nobody else would say it."""
        self.ident = threading.get_ident()
        loop = new_event_loop()
        # Plain `def` handlers run in this executor, and name look-ups too, so there are a few threads more.
        executor = ThreadPoolExecutor(self.group.concurrency + 4, thread_name_prefix=f"{self.group.name}-handler")
        loop.set_default_executor(executor)
        try:
            self._run_to_its_end(loop, loop.create_task(self._main(loop)))
        except BaseException as error:
            self.error = repr(error)
            logger.critical("the consumer thread %s died", self.group.name, exc_info=True)
        finally:
            self.ended = True
            executor.shutdown(wait=False, cancel_futures=True)
            loop.close()

    def _run_to_its_end(self, loop: asyncio.AbstractEventLoop, main: asyncio.Task[None]) -> None:
        """Run the loop until `main` is done, whatever else ends the loop: a SystemExit in any task of a handler's does.

        Whoever waits for that task gets the error all the same.
        """
        while not main.done():
            try:
                loop.run_until_complete(main)
            except BaseException:
                if main.done():
                    raise
                logger.exception("a handler ended the event loop of %s; it goes on", self.group.name)

    async def _main(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stop = asyncio.Event()
        self.loop = loop
        if self.stop_requested:
            self.stop.set()
        ticking = asyncio.create_task(self._tick())
        try:
            await self.group.run(self.stop)
        finally:
            ticking.cancel()
            # In rounds, since what is cancelled may begin something in its last words: aiormq's channels do.
            for _ in range(3):
                leftover = asyncio.all_tasks() - {asyncio.current_task()}
                if not leftover:
                    break
                for task in leftover:
                    task.cancel()
                await asyncio.wait(leftover, timeout=1.0)

    async def _tick(self) -> None:
        while True:
            self.last_turn = time.monotonic()
            await asyncio.sleep(TICK)

    def request_stop(self) -> None:
        """Set the group's stop event, from any thread."""
        self.stop_requested = True
        if self.loop is not None and self.stop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stop.set)

    def blocked_for(self) -> float:
        """Seconds since the loop last came round, less the time between two of its turns; 0 before and after."""
        if self.loop is None or self.ended:
            return 0.0
        return max(0.0, time.monotonic() - self.last_turn - TICK)


class ConsumerThreads:
    """Runs the groups side by side on a ThreadPoolExecutor, and says which handler blocks its loop."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._threads = [_Thread(group) for group in groups]
        self._executor = ThreadPoolExecutor(max(1, len(groups)), thread_name_prefix="consumer")
        self._futures: list[Future[None]] = []
        self._watching = threading.Event()

    def start(self) -> None:
        """Start all groups. Returns at once."""
        self._futures = [self._executor.submit(thread.run) for thread in self._threads]
        threading.Thread(target=self._watch, name="consumer-watchdog", daemon=True).start()

    def request_stop(self) -> None:
        """Ask all groups to drain and end."""
        for thread in self._threads:
            thread.request_stop()

    async def stop(self, grace: float, timeout: float) -> bool:
        """Wait for all groups to end. False if one has not after `timeout` seconds, or has been blocked for `grace`."""
        self.request_stop()
        deadline = time.monotonic() + timeout
        waiting = {
            asyncio.wrap_future(future): thread for thread, future in zip(self._threads, self._futures, strict=True)
        }
        while waiting and time.monotonic() < deadline:
            if all(thread.blocked_for() > grace for thread in waiting.values()):
                break  # they will not come round in time either
            done, _ = await asyncio.wait(waiting, timeout=0.2)
            waiting = {future: thread for future, thread in waiting.items() if future not in done}
        ended = not waiting
        self._watching.set()
        for thread, future in zip(self._threads, self._futures, strict=True):
            if not future.done():
                logger.critical("the consumer thread %s does not end:\n%s", thread.group.name, _stack(thread.ident))
        self._executor.shutdown(wait=False)
        return ended

    def trouble(self, name: str) -> str | None:
        """What is wrong with the thread of that group, in words, if anything."""
        for thread in self._threads:
            if thread.group.name == name:
                if thread.error is not None:
                    return f"its thread died: {thread.error}"
                if thread.blocked_for() > BLOCKED_AFTER:
                    return f"a handler has blocked its event loop for {thread.blocked_for():.0f} s"
        return None

    def _watch(self) -> None:
        reported: set[int] = set()
        while not self._watching.wait(0.5):
            for thread in self._threads:
                if thread.blocked_for() <= BLOCKED_AFTER:
                    reported.discard(thread.ident)
                elif thread.ident not in reported:
                    reported.add(thread.ident)
                    logger.error(
                        "a handler blocks the event loop of %s, and with it all its queues; it is here:\n%s",
                        thread.group.name,
                        _stack(thread.ident),
                    )


def _stack(ident: int) -> str:
    frame = sys._current_frames().get(ident)  # noqa: SLF001 - documented, and the only way to see another thread
    return "".join(traceback.format_stack(frame)[-8:]) if frame else "(ended)"
