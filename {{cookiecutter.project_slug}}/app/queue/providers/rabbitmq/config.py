"""The keys of a queue with `type: rabbitmq`."""

from __future__ import annotations

from ssl import SSLContext
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, field_validator, model_validator
from yarl import URL

from app.queue.config import QueueConfig
from app.queue.ssl_context import SSLContextConfig


class RabbitMQQueueConfig(QueueConfig):
    """One queue at RabbitMQ."""

    broker_url: str | list[str] = Field("localhost", repr=False)
    """A host, or `amqp://user:password@host:port/vhost`, or a list of either: the nodes of a cluster."""
    port: int | None = Field(None, ge=1, le=65_535)
    """5672, or 5671 with TLS, unless the URL says otherwise."""
    username: str = "guest"
    password: str = Field("guest", repr=False)
    virtual_host: str = "/"
    ssl: bool = False
    ssl_context: SSLContextConfig | None = None
    heartbeat: int = Field(10, ge=1, le=3600)
    """Seconds. A peer that is silent for about three of them is given up."""
    queue_type: Literal["quorum", "classic"] = "quorum"
    declare: bool = True
    """False: queues are not made, only checked. `docs/rabbitmq.md` lists what must be there."""

    @field_validator("broker_url")
    @classmethod
    def _good_urls(cls, value: str | list[str]) -> str | list[str]:
        urls = [value] if isinstance(value, str) else value
        if not urls:
            raise ValueError("the list is empty")
        for url in urls:
            if not url.strip():
                raise ValueError("it is empty; give a host, or amqp://user:password@host:port/vhost")
            _check_url(url)
        return value

    @model_validator(mode="after")
    def _tls_or_not(self) -> RabbitMQQueueConfig:
        if self.ssl and any(url.scheme == "amqp" for url in self.urls()):
            raise ValueError("ssl is true, but a broker_url begins with amqp://; write amqps://")
        if self.ssl_context is not None and any(url.scheme == "amqp" for url in self.urls()):
            raise ValueError("ssl_context is given, but the connection is not TLS: set ssl: true, or write amqps://")
        return self

    def urls(self) -> list[URL]:
        """The broker's nodes as whole URLs, credentials and heartbeat included."""
        given = [self.broker_url] if isinstance(self.broker_url, str) else self.broker_url
        return [self._whole(url) for url in given]

    def tls(self) -> SSLContext | None:
        """The context for `amqps://` URLs, None if there is none. It always verifies the broker's certificate.

        The files are read anew each time, so that one that was renewed counts from the next connection on. Raises
        ValueError if that one is no use.
        """
        if not any(url.scheme == "amqps" for url in self.urls()):
            return None
        return (self.ssl_context or SSLContextConfig()).context()

    def _whole(self, url: str) -> URL:
        scheme, authority, path = _split(url, "amqps" if self.ssl else "amqp")
        parts = urlsplit(f"//{authority}")
        user = unquote(parts.username) if parts.username is not None else self.username
        password = unquote(parts.password) if parts.password is not None else self.password
        vhost = unquote(path[1:]) if len(path) > 1 else self.virtual_host
        port = parts.port or self.port or (5671 if scheme == "amqps" else 5672)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return URL(
            f"{scheme}://{userinfo}@{host}:{port}/{quote(vhost, safe='')}?heartbeat={self.heartbeat}", encoded=True
        )


def _split(url: str, default_scheme: str) -> tuple[str, str, str]:
    scheme, found, rest = url.strip().partition("://")
    if not found:
        scheme, rest = default_scheme, url.strip()
    authority, slash, path = rest.partition("/")
    return scheme, authority, slash + path


def _check_url(url: str) -> None:
    scheme, authority, path = _split(url, "amqp")
    if scheme not in ("amqp", "amqps"):
        raise ValueError("a broker_url is a host, or begins with amqp:// or amqps://")
    if "$" in authority:
        raise ValueError("a variable of the environment is written ${NAME} or ${NAME:-default}; a '$' itself, %24")
    if "?" in authority + path:
        # aio-pika would take options from here, one of which turns the checking of certificates off.
        raise ValueError("a broker_url has no options behind a '?'; use the keys heartbeat, ssl_context and so on")
    try:
        parts = urlsplit(f"//{authority}")
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        good = good and not set(" \t\r\n#") & set(url.strip()) and "@" not in path
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            "not a host or URL; in a user name or password, write '@', ':' and '/' as %40, %3A and %2F, "
            "or use the keys username and password"
        )
