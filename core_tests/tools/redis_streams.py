"""What the tests do to the keys of a server, without the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis


def delete_keys(url: str, queue: str) -> None:
    """Delete all keys of a queue."""
    with Redis.from_url(url) as client:
        keys = list(client.scan_iter(f"*{queue}*"))
        if keys:
            client.delete(*keys)


@contextmanager
def full(url: str) -> Iterator[None]:
    """Inside, the server takes no message more."""
    with Redis.from_url(url) as client:
        client.config_set("maxmemory", 1)
        try:
            yield
        finally:
            client.config_set("maxmemory", 0)
