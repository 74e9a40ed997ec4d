"""What a contender's process is told, by its environment. The harness sets all of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Settings:
    """One phase of one contender."""

    broker_url: str
    queue_type: str
    """`quorum` or `classic`."""
    queues: tuple[str, ...]
    messages: int
    """How many are published, or expected."""
    size: int = 100
    """Bytes of a message's JSON."""
    prefetch: int = 100
    in_flight: int = 200
    """Publishes that wait for their confirm at a time."""
    rate: float = 0.0
    """Messages a second at most; 0 for as fast as it goes."""
    wait: float = 0.0
    """Seconds that the handler awaits."""
    burn: float = 0.0
    """Seconds for which the handler computes."""
    port: int = 0
    """Of HTTP."""
    project: str = ""
    """The baked project's folder."""
    plain: bool = False
    """Whether uvloop and httptools are hidden."""

    @property
    def queue(self) -> str:
        """The queue, where there is one."""
        return self.queues[0]

    def to_env(self) -> dict[str, str]:
        """As variables of the environment."""
        values = {**vars(self), "queues": ",".join(self.queues)}
        return {f"BENCH_{name.upper()}": str(value) for name, value in values.items()}

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """The opposite of `to_env()`."""

        def text(name: str) -> str:
            return env[f"BENCH_{name.upper()}"]

        return cls(
            broker_url=text("broker_url"),
            queue_type=text("queue_type"),
            queues=tuple(filter(None, text("queues").split(","))),
            messages=int(text("messages")),
            size=int(text("size")),
            prefetch=int(text("prefetch")),
            in_flight=int(text("in_flight")),
            rate=float(text("rate")),
            wait=float(text("wait")),
            burn=float(text("burn")),
            port=int(text("port")),
            project=text("project"),
            plain=text("plain") == "True",
        )
