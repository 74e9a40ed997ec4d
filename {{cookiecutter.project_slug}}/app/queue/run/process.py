# The template's: an update changes it. Which files are yours: README.md.
"""What the owner of a process decides: what it works at, where it logs, how its threads take turns, how it ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import Any, Self

from app.queue.errors import ConfigError

OF_A_CHILD: dict[signal.Signals, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
"""What these signals do in a process that Python has just started."""
SWITCH_INTERVAL = 0.0001
"""Seconds after which a thread that computes lets another one go on. With Python's own 5 ms, an HTTP request waits two
or three times as long for a busy consumer."""

GARBAGE_FROM = 10_000  # new objects after which garbage is looked for among them


class Role(StrEnum):
    """`QUEUE_ROLE`: what this process does of the service's work."""

    ALL = "all"
    API = "api"  # no consumers
    WORKER = "worker"  # no publishing over HTTP


def role() -> Role:
    """The process's role. Raises ConfigError for one that doesn't exist."""
    value = os.environ.get("QUEUE_ROLE") or Role.ALL
    try:
        return Role(value)
    except ValueError:
        raise ConfigError(f"environment variable QUEUE_ROLE: must be one of {', '.join(Role)}, not {value!r}") from None


def log_to_stderr() -> None:
    """What is logged goes to stderr, from `LOG_LEVEL` (INFO) on, unless logging is set up already. Raises ConfigError.

    Of the servers, only `python -m app` would do it: with another one, nothing that is not a warning would be seen.
    """
    name = (os.environ.get("LOG_LEVEL") or "INFO").upper()
    levels = logging.getLevelNamesMapping()
    if name not in levels:
        raise ConfigError(f"environment variable LOG_LEVEL: must be one of {', '.join(levels)}, not {name!r}")
    logging.basicConfig(level=levels[name], format="%(asctime)s %(levelname)-8s %(name)s: %(message)s")


@contextmanager
def long_lived() -> Iterator[None]:
    """Inside, the garbage collector leaves out what was there before: modules, classes, models, connections.

    Now and then it goes through all that there is, and every thread stands still for it: 25 ms here, at full speed so
    often that one HTTP request in a hundred waited for it. And it begins less often, since messages in flight are no
    garbage: with Python's own 700 new objects, it took a seventh of a batch's time.
    """
    threshold = gc.get_threshold()
    gc.freeze()
    if 0 < threshold[0] < GARBAGE_FROM:
        gc.set_threshold(GARBAGE_FROM, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


@contextmanager
def short_turns() -> Iterator[None]:
    """Threads take turns every `SWITCH_INTERVAL` seconds inside."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def end_at_once() -> None:
    """End the process with exit code 1. Python itself would wait for every thread, however long it takes."""
    logging.shutdown()
    os._exit(1)


class DrainSignals:
    """`with DrainSignals(service.begin_drain, delay):` for as long as the service runs; then all is as it was.

    After SIGTERM the server's own handler is called `delay` seconds later. In that time the service says 503, and its
    port is still open: that is all a load balancer sees. SIGINT, and whatever comes after the first signal, is passed
    on at once. Does nothing outside of the main thread, where Python has no signals. A process that is forked has
    neither our handlers nor the server's: both would ask its parent to end.
    """

    def __init__(self, begin_drain: Callable[[], None], delay: float) -> None:
        self.received = False  # True once a signal has asked the process to end
        self._begin_drain = begin_drain
        self._delay = delay
        self._old: dict[signal.Signals, Any] = {}
        self._new: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        global _latest  # noqa: PLW0603 - a hook for forks can't be taken away again, so there is one for all
        loop = asyncio.get_running_loop()

        def handle(number: int, frame: FrameType | None) -> None:
            delay = self._delay if number == signal.SIGTERM and not self.received else 0.0
            self.received = True
            loop.call_soon_threadsafe(self._begin_drain)
            loop.call_soon_threadsafe(loop.call_later, delay, self._old[signal.Signals(number)], number, frame)

        if threading.current_thread() is threading.main_thread():
            _latest = self
            for number in OF_A_CHILD:
                if callable(signal.getsignal(number)):
                    self._old[number] = signal.signal(number, handle)
                    self._new[number] = handle
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def forget(self) -> None:
        """In a child: its signals are its own. What somebody else has set meanwhile stays."""
        signal.set_wakeup_fd(-1)  # or the parent's event loop would hear of them
        for number, old in self._old.items():
            if signal.getsignal(number) in (old, self._new[number]):
                signal.signal(number, OF_A_CHILD[number])


_latest: DrainSignals | None = None  # also after its end: while what runs is finished, handlers may still fork
_before = threading.local()


def _hold_back() -> None:
    """Before a fork: what is sent to the child before it has its own handlers would be lost, so it has to wait."""
    if _latest is not None:
        _before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, OF_A_CHILD)


def _let_come() -> None:
    """After a fork, on both sides."""
    if (mask := vars(_before).pop("mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _behave_like_a_child() -> None:
    if _latest is not None:
        _latest.forget()
    try:
        _let_come()
    except KeyboardInterrupt:  # no exception gets out of here
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(before=_hold_back, after_in_parent=_let_come, after_in_child=_behave_like_a_child)
