# The template's: an update changes it. Which files are yours: README.md.
"""The models of `queues.yaml`, as far as the core is concerned."""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
RESERVED = ("dlq_", "parked_", "quarantine_", "retry_")


class Section(BaseModel):
    """A part of the file. Unknown keys are errors; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RetryConfig(Section):
    """How often and how soon a failed message is tried again. Times are in seconds."""

    max_attempts: int = Field(5, ge=1, le=1000)
    initial_delay: float = Field(1.0, ge=0.001, le=86_400)
    multiplier: float = Field(2.0, ge=1, le=100)
    max_delay: float = Field(300.0, ge=0.001, le=86_400)

    def delay(self, failures: int) -> float:
        """Seconds to wait after the given number of failed attempts (1 or more), in whole milliseconds."""
        try:
            delay = self.initial_delay * self.multiplier ** (failures - 1)
        except OverflowError:
            delay = self.max_delay
        return round(min(delay, self.max_delay), 3)

    def delays(self) -> tuple[float, ...]:
        """Every delay that can occur, in growing order, for a broker that needs a place for each."""
        return tuple(sorted({self.delay(n) for n in range(1, max(self.max_attempts, 2))}))


class DLQConfig(Section):
    """The passes over the dead-letter queue."""

    retry_interval: float = Field(300.0, ge=0, le=30 * 86_400)
    """Seconds between passes; 0 for none."""
    max_retries: int = Field(3, ge=0, le=1000)
    """How often a message is sent back to its queue before it is parked."""


class CircuitBreakerConfig(Section):
    """The circuit breaker around publishing."""

    fail_max: int = Field(5, ge=1)
    reset_timeout: float = Field(5.0, gt=0, le=3600)


class PauseConfig(Section):
    """When to stop consuming because everything fails. Times are in seconds."""

    after: int = Field(10, ge=0)
    """Pause once this many different messages failed with no success between; 0 for never."""
    initial_delay: float = Field(1.0, gt=0, le=3600)
    """Time to the first probe. It doubles with each that fails."""
    max_delay: float = Field(15.0, gt=0, le=3600)


class HeldConfig(Section):
    """How much may be in flight that can't be settled, before nothing more is received."""

    messages: int = Field(1_000, ge=1, le=100_000)
    bytes: int = Field(64 * 1_048_576, ge=1)
    """Of their bodies."""


class QueueConfig(Section):
    """One queue, as far as the core is concerned. A provider's own model adds the keys of its broker."""

    name: str
    type: str
    enable_consumer: bool = True
    enable_publisher: bool = True
    enable_dlq: bool = True
    prefetch: int = Field(20, ge=1, le=65_535)
    """Messages in flight at most, running or waiting for a free place."""
    concurrency: int = Field(10, ge=1, le=10_000)
    """Handlers running at a time at most."""
    handler_timeout: float = Field(300.0, gt=0, le=7 * 86_400)
    """Seconds until an `async def` handler is cancelled, which counts as a failure."""
    publish_timeout: float = Field(5.0, gt=0, le=300)
    """Seconds until a publish that the broker does not confirm is an error."""
    max_message_bytes: int = Field(1_048_576, ge=1, le=128 * 1_048_576)
    retry: RetryConfig = RetryConfig()
    dlq: DLQConfig = DLQConfig()
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    pause: PauseConfig = PauseConfig()
    held: HeldConfig = HeldConfig()

    @model_validator(mode="after")
    def _prefetch_suffices(self) -> Self:
        if "concurrency" in self.model_fields_set and self.prefetch < self.concurrency:
            raise ValueError("concurrency is more than prefetch, so it is never reached: raise prefetch, too")
        return self

    @property
    def redelivered_within(self) -> float:
        """Seconds after which what a lost link had in flight has surely come again, once there is a link again."""
        return 60.0

    @field_validator("name")
    @classmethod
    def _good_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("a name has 1 to 128 letters, digits, '_', '-' or '.', and begins with a letter or digit")
        if name.startswith(RESERVED):
            raise ValueError(f"a name can't begin with {', '.join(RESERVED)}: those queues are made for it")
        return name


class DrainConfig(Section):
    """Shutting down on SIGTERM. Both in seconds. Whoever sends the signal has to wait longer: docs/configuration.md."""

    delay: float = Field(1.0, ge=0, le=300)
    """How long `/health/ready` says 503 before the port closes, so that a load balancer sees it."""
    timeout: float = Field(20.0, ge=0, le=3600)
    """How long running handlers may take to finish."""


class QueuesConfig(Section):
    """The whole file."""

    queues: list[SerializeAsAny[QueueConfig]]
    consumer_threads: int = Field(4, ge=1, le=64)
    """Event loops, each in a thread of its own, over which the consumers are spread."""
    drain: DrainConfig = DrainConfig()

    def queue(self, name: str) -> QueueConfig | None:
        """The queue of that name, if there is one."""
        return next((queue for queue in self.queues if queue.name == name), None)
