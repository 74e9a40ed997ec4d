# The template's: an update changes it. Which files are yours: README.md.
"""What comes out of somebody else's code: an exception that is not the end of our own task, or a second process."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from contextlib import suppress


def ends_task(error: BaseException) -> bool:
    """True if the running task is cancelled, and this is how it hears of it. Anything else was just raised."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


class InThisProcess:
    """`with InThisProcess():` around somebody's code. A child that was forked inside ends there, and never comes out.

    It would go on with copies of our event loop and connections, and settle messages that are its parent's.
    """

    __slots__ = ("_pid",)

    def __enter__(self) -> None:
        self._pid = os.getpid()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if os.getpid() != self._pid:
            _end(error)


def _end(error: BaseException | None) -> None:
    """End the process as Python would, but for what its parent has to clean up."""
    code = 0 if error is None else 1
    with suppress(Exception):
        if isinstance(error, SystemExit):
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif error is not None:
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
