"""The keys of a queue with `type: redis`."""

from __future__ import annotations

from dataclasses import dataclass, field
from ssl import SSLContext
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from app.queue.config import QueueConfig
from app.queue.ssl_context import SSLContextConfig


@dataclass(frozen=True, slots=True)
class Server:
    """One server, the database in it, and who we are to it. No user name and a password: the user `default`."""

    host: str
    port: int
    database: int
    tls: bool
    username: str
    password: str = field(repr=False)

    @property
    def address(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


class RedisQueueConfig(QueueConfig):
    """One queue in Redis Streams."""

    broker_url: str | list[str] = Field("localhost", repr=False)
    """A host, or `redis://user:password@host:port/database`, or a list of either: the first master is used."""
    port: int = Field(6379, ge=1, le=65_535)
    """Where the URL names none."""
    database: int = Field(0, ge=0, le=1_000_000)
    """Where the URL names none."""
    username: str = ""
    password: str = Field("", repr=False)
    ssl: bool = False
    ssl_context: SSLContextConfig | None = None
    heartbeat: int = Field(10, ge=1, le=3600)
    """Seconds. A server that is silent for about three of them is given up."""
    ack_wait: float = Field(30.0, ge=1, le=3600)
    """Seconds after which a message goes to another instance, if the process that has it in hand is gone."""

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
    def _tls_or_not(self) -> RedisQueueConfig:
        if self.ssl and any(url.strip().startswith("redis://") for url in self._urls()):
            raise ValueError("ssl is true, but a broker_url begins with redis://; write rediss://")
        if self.ssl_context is not None and not all(server.tls for server in self.servers()):
            raise ValueError("ssl_context is given, but the connection is not TLS: set ssl: true, or write rediss://")
        if self.username and not self.password:
            raise ValueError("username is given without password")
        return self

    def servers(self) -> list[Server]:
        """The servers, credentials included, in the order in which they are tried."""
        return [self._server(url) for url in self._urls()]

    def tls(self) -> SSLContext:
        """A context that always verifies the server's certificate, from files that are read anew. Raises ValueError."""
        return (self.ssl_context or SSLContextConfig()).context()

    def _urls(self) -> list[str]:
        return [self.broker_url] if isinstance(self.broker_url, str) else self.broker_url

    def _server(self, url: str) -> Server:
        scheme, parts = _split(url)
        given = parts.password is not None  # a URL's password is for the URL's user, or for the user `default`
        return Server(
            host=parts.hostname or "",
            port=parts.port or self.port,
            database=int(parts.path[1:]) if parts.path else self.database,
            tls=self.ssl or scheme == "rediss",
            username=unquote(parts.username or "") if given else self.username,
            password=unquote(parts.password or "") if given else self.password,
        )


def _split(url: str) -> tuple[str, SplitResult]:
    scheme, _, rest = url.strip().rpartition("://")
    return scheme, urlsplit(f"//{rest.removesuffix('/')}")


def _check_url(url: str) -> None:
    if not url.strip():
        raise ValueError("it is empty; give a host, or redis://user:password@host:port")
    scheme, _, rest = url.strip().rpartition("://")
    if scheme not in ("", "redis", "rediss"):
        raise ValueError("a broker_url is a host, or begins with redis:// or rediss://")
    if "$" in rest:
        raise ValueError("a variable of the environment is written ${NAME} or ${NAME:-default}; a '$' itself, %24")
    try:
        _, parts = _split(url)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        good = good and (not parts.path or (parts.path[1:].isascii() and parts.path[1:].isdecimal()))
        good = good and not set(" \t\r\n#?") & set(url.strip())
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            "not a host or URL, which may end with /NUMBER of a database; in a user name or password, write '@', ':', "
            "'/' and '?' as %40, %3A, %2F and %3F, or use the keys username and password"
        )
    if parts.username and not parts.password:
        raise ValueError("a URL has a user and a password, or :password, or neither")
