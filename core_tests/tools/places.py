"""The names of the places that tests look into, written out here, so that a test notices if the service renames one."""

from __future__ import annotations


def dlq_name(queue: str) -> str:
    """The dead-letter queue."""
    return f"dlq_{queue}"


def parked_name(queue: str) -> str:
    """Where a message stays until a person looks at it."""
    return f"parked_{queue}"


def quarantine_name(queue: str) -> str:
    """Where a message that was in flight when a process died waits to be run by itself."""
    return f"quarantine_{queue}"
