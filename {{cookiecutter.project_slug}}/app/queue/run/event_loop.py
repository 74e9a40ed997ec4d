# The template's: an update changes it. Which files are yours: README.md.
"""The event loop of every consumer thread: uvloop's where there is one, as uvicorn chooses it for HTTP."""

from __future__ import annotations

import asyncio


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop, not set for the thread. Uninstall uvloop (it has no Windows), and it is asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - it is not everywhere
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
