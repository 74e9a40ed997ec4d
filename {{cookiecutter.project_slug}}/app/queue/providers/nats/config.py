# The template's: an update changes it. Which files are yours: README.md.
"""The keys of a queue with `type: nats`."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from app.queue.settings.broker import BrokerConfig, Server, URLRules


class NatsQueueConfig(BrokerConfig):
    """One queue in NATS JetStream."""

    url_rules: ClassVar[URLRules] = URLRules("nats", "tls", 4222, 4222)

    ack_wait: float = Field(30.0, ge=1, le=3600)
    """Seconds after which the server gives a message to somebody else, if the process that has it in flight is gone."""
    duplicate_window: float = Field(120.0, ge=1, le=86_400)
    """Seconds in which the server drops what was published before: the same id with the same body."""
    replicas: Literal[1, 3, 5] = 1  # how many servers keep each message
    max_bytes: int | None = Field(None, ge=1)  # a stream that holds so much takes no more; None: what the server gives
    declare: bool = True  # False: streams and consumers are only checked. `docs/nats.md` lists what must be there

    @field_validator("name")
    @classmethod
    def _a_subject(cls, name: str) -> str:
        if name.endswith(".") or ".." in name:
            raise ValueError("with nats, a name is a subject: something stands before, between and after its dots")
        return name

    @property
    def redelivered_within(self) -> float:
        return super().redelivered_within + 2 * self.ack_wait

    @model_validator(mode="after")
    def _no_password_alone(self) -> Self:
        if self.password and not self.username:
            raise ValueError("password is given without username")
        return self

    @staticmethod
    def url(server: Server) -> str:
        """A server as nats-py wants it, without the credentials."""
        host = f"[{server.host}]" if ":" in server.host else server.host
        return f"{'tls' if server.tls else 'nats'}://{host}:{server.port}"


def stream_name(its_subject: str) -> str:
    """The stream behind a subject of ours. A stream's name has no dots, and a queue's no `=`."""
    return its_subject.replace(".", "=")
