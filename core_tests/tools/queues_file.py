"""The file `queues.yaml` of a test: written, and loaded."""

from __future__ import annotations

from collections.abc import Callable

from app.queue.config import QueuesConfig

Load = Callable[[str], QueuesConfig]
"""Writes the file, and loads it."""


def queue_yaml(*lines: str, provider: str = "memory") -> str:
    """A file with one queue, `my_queue`, with these lines added to it."""
    return "\n    ".join(["queues:\n  - name: my_queue", f"type: {provider}", *lines]) + "\n"
