# The template's: an update changes it. Which files are yours: README.md.
"""The keys of a queue with `type: redis`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from app.queue.settings.broker import BrokerConfig, URLRules


class RedisQueueConfig(BrokerConfig):
    """One queue in Redis Streams. Of several servers, the first master is used; a server's `path` is its database."""

    url_rules: ClassVar[URLRules] = URLRules("redis", "rediss", 6379, 6379, path_key="database")

    database: int = Field(0, ge=0, le=1_000_000)  # where the URL names none
    ack_wait: float = Field(30.0, ge=1, le=3600)
    """Seconds after which a message goes to another instance, if the process that has it in flight is gone."""

    @property
    def redelivered_within(self) -> float:
        return super().redelivered_within + 2 * self.ack_wait

    @classmethod
    def check_path(cls, path: str) -> None:
        if path and not (path.isascii() and path.isdecimal()):
            raise ValueError("not a host or URL: it may end with /NUMBER of a database, and with nothing else")
