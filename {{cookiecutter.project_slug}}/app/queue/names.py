"""The names of the places of a queue, the same in every broker."""


def dlq_name(queue: str) -> str:
    """The dead-letter queue."""
    return f"dlq_{queue}"


def parked_name(queue: str) -> str:
    """Where a message stays until a person looks at it."""
    return f"parked_{queue}"


def retry_name(queue: str, delay: float) -> str:
    """Where a message waits `delay` seconds for its next attempt."""
    return f"retry_{queue}_{round(delay * 1000)}"
