"""The keys of a queue with `type: nats`."""

from __future__ import annotations

from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from app.queue.config import QueueConfig
from app.queue.ssl_context import SSLContextConfig


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the cluster, and who we are to it."""

    host: str
    port: int
    tls: bool
    username: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """For nats-py, without the credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{host}:{self.port}"


class NatsQueueConfig(QueueConfig):
    """One queue in NATS JetStream."""

    broker_url: str | list[str] = Field("localhost", repr=False)
    """A host, or `nats://user:password@host:port`, or a list of either: the servers of a cluster."""
    port: int = Field(4222, ge=1, le=65_535)
    """Where the URL names none."""
    username: str = ""
    password: str = Field("", repr=False)
    ssl: bool = False
    ssl_context: SSLContextConfig | None = None
    heartbeat: int = Field(10, ge=1, le=3600)
    """Seconds. A server that is silent for about three of them is given up."""
    ack_wait: float = Field(30.0, ge=1, le=3600)
    """Seconds after which the server gives a message to somebody else, if the process that has it in hand is gone."""
    duplicate_window: float = Field(120.0, ge=1, le=86_400)
    """Seconds in which the server drops what was published before: the same id with the same body."""
    replicas: Literal[1, 3, 5] = 1
    """How many servers keep each message."""
    max_bytes: int | None = Field(None, ge=1)
    """What a stream may hold; when it is full, it takes no more. None: as much as the server gives."""
    declare: bool = True
    """False: streams and consumers are not made, only checked. `docs/nats.md` lists what must be there."""

    @field_validator("name")
    @classmethod
    def _a_subject(cls, name: str) -> str:
        if name.endswith(".") or ".." in name:
            raise ValueError("with nats, a name is a subject: something stands before, between and after its dots")
        return name

    @field_validator("broker_url")
    @classmethod
    def _good_urls(cls, value: str | list[str]) -> str | list[str]:
        urls = [value] if isinstance(value, str) else value
        if not urls:
            raise ValueError("the list is empty")
        for url in urls:
            _check_url(url)
        return value

    @model_validator(mode="after")
    def _tls_or_not(self) -> NatsQueueConfig:
        given = [self.broker_url] if isinstance(self.broker_url, str) else self.broker_url
        if self.ssl and any(url.strip().startswith("nats://") for url in given):
            raise ValueError("ssl is true, but a broker_url begins with nats://; write tls://")
        if self.ssl_context is not None and not all(server.tls for server in self.servers()):
            raise ValueError("ssl_context is given, but the connection is not TLS: set ssl: true, or write tls://")
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password go together")
        return self

    def servers(self) -> list[Server]:
        """The broker's servers, credentials included."""
        given = [self.broker_url] if isinstance(self.broker_url, str) else self.broker_url
        return [self._server(url) for url in given]

    def tls(self) -> SSLContext:
        """A context that always verifies the server's certificate, from files that are read anew. Raises ValueError."""
        return (self.ssl_context or SSLContextConfig()).context()

    def _server(self, url: str) -> Server:
        scheme, _, authority = url.strip().rpartition("://")
        parts = urlsplit(f"//{authority.removesuffix('/')}")
        return Server(
            host=parts.hostname or "",
            port=parts.port or self.port,
            tls=self.ssl or scheme == "tls",
            username=unquote(parts.username) if parts.username is not None else self.username,
            password=unquote(parts.password) if parts.password is not None else self.password,
        )


def _check_url(url: str) -> None:
    if not url.strip():
        raise ValueError("it is empty; give a host, or nats://user:password@host:port")
    scheme, _, authority = url.strip().rpartition("://")
    if scheme not in ("", "nats", "tls"):
        raise ValueError("a broker_url is a host, or begins with nats:// or tls://")
    if "$" in authority:
        raise ValueError("a variable of the environment is written ${NAME} or ${NAME:-default}; a '$' itself, %24")
    try:
        parts = urlsplit(f"//{authority.removesuffix('/')}")
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not parts.path
        good = good and not set(" \t\r\n#?") & set(url.strip())
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            "not a host or URL; in a user name or password, write '@', ':', '/' and '?' as %40, %3A, %2F and %3F, "
            "or use the keys username and password"
        )
    if (parts.username is None) != (parts.password is None):
        raise ValueError("a URL has a user and a password, or neither")
