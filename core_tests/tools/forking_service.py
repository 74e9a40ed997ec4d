"""`python -m core_tests.tools.forking_service` is `python -m app` with handlers that fork, and note what became of it.

Each line of the file `NOTES` is a mark, and the process that wrote it.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from fastapi import FastAPI

from app.__main__ import main as serve
from app.queue.processor import MessageProcessor
from app.queue.setup import queue_lifespan

NOTES = Path(os.environ["NOTES"])
FORK = multiprocessing.get_context("fork")


def note(mark: object) -> None:
    """Write it down; a line is written at once."""
    with NOTES.open("a") as file:
        file.write(f"{mark} {os.getpid()}\n")


def sleep() -> None:
    """What a child does that is to be ended by a signal. It does not outlive its parent: a test may kill that."""
    parent, until = os.getppid(), time.monotonic() + 60
    note("child")
    while time.monotonic() < until:
        if os.getppid() != parent:
            note("orphaned")
            os._exit(0)
        time.sleep(0.1)
    note("survived")


def ended(signals: list[signal.Signals], *, at_once: bool = False) -> int | None:
    """Start a child, send it these signals, and return what it ended with."""
    before = NOTES.read_text().count("child")
    process = FORK.Process(target=sleep)
    process.start()
    while not at_once and NOTES.read_text().count("child") == before:
        time.sleep(0.01)
    for number in signals:
        os.kill(process.pid or 0, number)
    process.join(10)
    code = process.exitcode
    process.kill()
    return code


def forked(child: Callable[[], object]) -> int:
    """In a process that was forked, 0, after `child` was called; in this one what that has ended with."""
    if (pid := os.fork()) == 0:
        note("child")
        child()
        return 0
    for _ in range(1000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1] and 999


def end_with_parent() -> None:
    """For a worker of a pool: it would wait for work for ever, also from a parent that was killed."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def fail() -> None:
    """What a child may do by mistake."""
    raise RuntimeError("in the child")


WAYS: dict[str, Callable[[], object]] = {
    "terminate": lambda: ended([signal.SIGTERM]),
    "interrupt": lambda: ended([signal.SIGINT]),
    "interrupt at once": lambda: ended([signal.SIGINT], at_once=True) in (1, -2),
    "terminate many at once": lambda: [ended([signal.SIGTERM], at_once=True) for _ in range(200)].count(-15),
    "a signal that only the parent handles": lambda: ended([signal.SIGUSR1, signal.SIGTERM]),
    "nothing": lambda: ended([]),
    "return": lambda: forked(lambda: None),
    "raise": lambda: forked(fail),
    "exit": lambda: forked(lambda: sys.exit(7)),
    "run a loop": lambda: forked(lambda: asyncio.run(asyncio.sleep(0.01)) or os._exit(5)),
}


class Handler:
    """Forks, in a thread or on the event loop; the second blocks that, which is of no matter here."""

    def plain(self, message: dict[str, Any]) -> None:
        """In a thread."""
        note(f"{message['way']}: {WAYS[message['way']]()}")

    async def coroutine(self, message: dict[str, Any]) -> None:
        """On the event loop."""
        note(f"{message['way']}: {WAYS[message['way']]()}")

    async def pool(self, message: dict[str, Any]) -> None:
        """In a pool of processes, as people use it for work that computes."""
        with ProcessPoolExecutor(1, FORK, end_with_parent) as pool:
            found = await asyncio.get_running_loop().run_in_executor(pool, pow, 2, 10)
        note(f"pool: {found}")

    def draining(self, message: dict[str, Any]) -> None:
        """When the drain has long begun."""
        note("begun")
        time.sleep(2)
        note(f"draining: {ended([signal.SIGTERM])}")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The service's, with a signal of the user's own, so that asyncio has a file that signals are written to."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: note("the parent's own signal"))

    def register(processor: MessageProcessor) -> None:
        processor.register_handler("q", Handler())

    async with queue_lifespan(register=register)(app):
        yield


if __name__ == "__main__":
    NOTES.touch()
    user_module = ModuleType("app.main")
    vars(user_module)["app"] = FastAPI(lifespan=lifespan)
    with mock.patch.dict(sys.modules, {"app.main": user_module}):
        sys.exit(serve())
