"""Free ports."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

UNASKED = range(10_000, 32_000)
"""Below those that the system gives to whoever asks for any: none of its own comes in between."""
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on, and that this process has not been given before: it may not listen there yet."""
    for _ in range(1000):
        port = random.choice(UNASKED)
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise RuntimeError(f"no free port from {UNASKED.start} to {UNASKED.stop - 1}")
