"""The message, the handler and the publishing loop: the same for every contender.

A result is one line of JSON on stdout that begins with `RESULT`. Times are those of `time.perf_counter()`, which on
Linux and macOS is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from array import array
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pydantic import BaseModel

from benchmarks.settings import Settings

MARK = "RESULT "
FIRST_ID = 10**9
KEPT = 50_000
"""Latencies that are kept, so that what a backlog costs in memory is the contender's, not the tally's."""


class Work(BaseModel):
    """The message. `id` is unique, `sent` is when it was published."""

    type: Literal["work"] = "work"
    id: int
    sent: float
    text: str


def report(**result: Any) -> None:
    """Hand a result to the harness."""
    sys.stdout.write(f"\n{MARK}{json.dumps(result)}\n")
    sys.stdout.flush()


# ---------------------------------------------------------------------------------------------------------- handling


class Tally:
    """Counts what is handled, and reports once all expected ids have been seen: four at least.

    `quarter` is when a quarter of them had been, for those who don't want the beginning.
    """

    def __init__(self, settings: Settings) -> None:
        self._missing = settings.messages
        self._quarter = settings.messages // 4
        self._seen = bytearray(settings.messages)
        self._calls = 0
        self._latencies = array("d")
        self._marks: list[float] = []

    def seen(self, message: Work) -> None:
        """A handler is done with `message`."""
        now = time.perf_counter()
        if not self._calls or self._calls == self._quarter:
            self._marks += now, time.process_time()
        self._calls += 1
        if self._calls <= KEPT:
            self._latencies.append(now - message.sent)
        place = message.id - FIRST_ID
        if not self._seen[place]:
            self._seen[place] = 1
            self._missing -= 1
            if not self._missing:
                self._report(now)

    def _report(self, now: float) -> None:
        cpu = time.process_time()
        first, cpu_first, quarter, cpu_quarter = self._marks
        cuts = statistics.quantiles(self._latencies, n=100)
        report(
            calls=self._calls,
            first=first,
            last=now,
            cpu=cpu - cpu_first,
            quarter=quarter,
            cpu_from_quarter=cpu - cpu_quarter,
            p50=cuts[49],
            p99=cuts[98],
        )


_settings: Settings | None = None
_tally: Tally | None = None


def _state() -> tuple[Settings, Tally]:
    global _settings, _tally  # noqa: PLW0603 - a contender's handler may be a bare function, and there is one a process
    if _settings is None or _tally is None:
        _settings = Settings.from_env()
        _tally = Tally(_settings)
    return _settings, _tally


async def handle(message: Work) -> None:
    """What an asynchronous handler does with a validated message."""
    settings, tally = _state()
    if settings.wait:
        await asyncio.sleep(settings.wait)
    if settings.burn:
        end = time.thread_time() + settings.burn
        while time.thread_time() < end:
            pass
    tally.seen(message)


def handle_blocking(message: Work) -> None:
    """What a plain handler does with a validated message."""
    settings, tally = _state()
    if settings.wait:
        time.sleep(settings.wait)
    tally.seen(message)


# -------------------------------------------------------------------------------------------------------- publishing


def messages(settings: Settings) -> Iterator[Work]:
    """The messages of a phase, each `settings.size` bytes long as JSON, stamped when they are taken."""
    empty = Work(id=FIRST_ID, sent=1e5 + 1 / 3, text="")
    text = "x" * max(0, settings.size - len(empty.model_dump_json()))
    for number in range(settings.messages):
        yield Work(id=FIRST_ID + number, sent=time.perf_counter(), text=text)


async def publish_all(settings: Settings, publish: Callable[[Work], Awaitable[object]]) -> None:
    """Publish all messages by `publish`, which returns when the broker has confirmed, and report."""
    source = messages(settings)

    async def one_after_the_other() -> None:
        for message in source:
            await publish(message)

    started, cpu = time.perf_counter(), time.process_time()
    if settings.rate:
        for number in range(settings.messages):
            await asyncio.sleep(started + number / settings.rate - time.perf_counter())
            await publish(next(source))
    else:
        await asyncio.gather(*(one_after_the_other() for _ in range(settings.in_flight)))
    report(seconds=time.perf_counter() - started, cpu=time.process_time() - cpu)


def publish_all_blocking(settings: Settings, publish: Callable[[Work], object], threads: int) -> None:
    """The same for a `publish` that blocks until the confirm: one in flight for each thread."""
    source = messages(settings)
    started, cpu = time.perf_counter(), time.process_time()
    if settings.rate:
        for number in range(settings.messages):
            time.sleep(max(0.0, started + number / settings.rate - time.perf_counter()))
            publish(next(source))
    else:
        shares = [list(range(settings.messages))[number::threads] for number in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(_publish_share, settings, share, publish) for share in shares]:
                done.result()
    report(seconds=time.perf_counter() - started, cpu=time.process_time() - cpu)


def _publish_share(settings: Settings, share: list[int], publish: Callable[[Work], object]) -> None:
    text = next(messages(settings)).text
    for number in share:
        publish(Work(id=FIRST_ID + number, sent=time.perf_counter(), text=text))


# -------------------------------------------------------------------------------------------------------------- roles


def run(main: Coroutine[Any, Any, None]) -> None:
    """`asyncio.run()`, on uvloop if that is installed: then all have it."""
    try:
        import uvloop  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def play(**roles: Callable[[Settings], None] | str) -> None:
    """Play the role that the command line names: `publish`, `consume`, `serve`. A string says why it can't be."""
    role = roles[sys.argv[1]]
    if isinstance(role, str):
        report(cannot=role)
    else:
        role(Settings.from_env())
