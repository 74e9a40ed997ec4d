# The template's: an update changes it. Which files are yours: README.md.
"""The keys that every broker with a network address has: where its servers are, who we are to them, and TLS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext, TLSVersion, create_default_context
from typing import ClassVar, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from app.queue.errors import BrokerRefusedError
from app.queue.settings.queues import QueueConfig, Section


class SSLContextConfig(Section):
    """What a TLS connection is checked with. Files are PEM."""

    cafile: Path | None = None
    """The authorities to trust, instead of the system's."""
    certfile: Path | None = None
    keyfile: Path | None = None
    """The service's own certificate, for a broker that asks for one."""
    check_hostname: bool = True
    """False: the broker's certificate may be for another name. It must be valid all the same."""

    @model_validator(mode="after")
    def _usable(self) -> SSLContextConfig:
        if self.keyfile is not None and self.certfile is None:
            raise ValueError("keyfile is given without certfile")
        self.context()
        return self

    @field_validator("cafile", "certfile", "keyfile")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("there is no such file")
        return path

    def context(self) -> SSLContext:
        """One that always verifies the broker's certificate. Raises ValueError if a file is no use."""
        try:
            context = create_default_context(cafile=self.cafile)
        except OSError:
            raise ValueError("cafile holds no certificate in PEM that can be read") from None
        # Where this is left to the system, as by Debian's own Python, the interpreter has no minimum.
        context.minimum_version = max(context.minimum_version, TLSVersion.TLSv1_2)
        if self.certfile is not None:
            try:
                # The empty password is for a key that has one: OpenSSL would ask for it at the terminal, and wait.
                context.load_cert_chain(self.certfile, self.keyfile, password="")
            except OSError:
                raise ValueError(
                    "certfile and keyfile are no certificate and its key in PEM; the key must have no passphrase"
                ) from None
        context.check_hostname = self.check_hostname
        return context


@dataclass(frozen=True, slots=True)
class Server:
    """One server, and who we are to it. `path` is what its URL names behind the host: a virtual host, a database."""

    host: str
    port: int
    tls: bool
    username: str
    password: str = field(repr=False)
    path: str = ""

    @property
    def address(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class URLRules:
    """What a `broker_url` of one kind of broker looks like.

    Attributes:
        plain, secure: the schemes, without and with TLS.
        port, secure_port: where neither the URL nor the key `port` says otherwise.
        path_key: the key that says what the URL's path says; "" if a URL has no path.
        user_alone: a URL may name a user and leave the password to its key.
    """

    plain: str
    secure: str
    port: int
    secure_port: int
    path_key: str = ""
    user_alone: bool = False

    @property
    def example(self) -> str:
        """For people."""
        return f"{self.plain}://user:password@host:port" + (f"/{self.path_key}" if self.path_key else "")


class BrokerConfig(QueueConfig):
    """One queue at a broker with an address. A provider's model says its `url_rules`, and adds the keys it has more."""

    url_rules: ClassVar[URLRules]

    broker_url: str | list[str] = Field("localhost", repr=False)
    """A host, or a whole URL, or a list of either: the servers of a cluster."""
    port: int | None = Field(None, ge=1, le=65_535)
    """The broker's usual one, unless the URL says otherwise."""
    username: str = ""
    password: str = Field("", repr=False)
    ssl: bool = False
    ssl_context: SSLContextConfig | None = None
    heartbeat: int = Field(10, ge=1, le=3600)
    """Seconds. A server that is silent for about three of them is given up."""

    def servers(self) -> list[Server]:
        """The servers, credentials included, in the order in which they are given."""
        return [self._server(url) for url in self._urls()]

    def tls(self, server: Server) -> SSLContext | None:
        """The context for a connection to `server`, None if that is not TLS. It always verifies the certificate.

        The files are read anew each time, so that one that was renewed counts from the next connection on. Raises
        BrokerRefusedError if one is no use.
        """
        if not server.tls:
            return None
        try:
            return (self.ssl_context or SSLContextConfig()).context()
        except ValueError as error:
            raise BrokerRefusedError(f"ssl_context: {error}") from error

    def broker_key(self) -> str:
        """The same for all queues that can share a connection. It holds the password: never show it."""
        passwords = [server.password for server in self.servers()]
        return repr((self.servers(), passwords, self.ssl_context, self.heartbeat))

    @classmethod
    def check_path(cls, path: str) -> None:
        """Raise ValueError if `path`, which stands behind the host in a URL, is no use."""

    @field_validator("broker_url")
    @classmethod
    def _good_urls(cls, value: str | list[str]) -> str | list[str]:
        urls = [value] if isinstance(value, str) else value
        if not urls:
            raise ValueError("the list is empty")
        for url in urls:
            cls._check(url.strip())
        return value

    @model_validator(mode="after")
    def _tls_or_not(self) -> Self:
        rules = self.url_rules
        if self.ssl and any(_split(url, "")[0] == rules.plain for url in self._urls()):
            raise ValueError(f"ssl is true, but a broker_url begins with {rules.plain}://; write {rules.secure}://")
        if self.ssl_context is not None and not all(server.tls for server in self.servers()):
            raise ValueError(
                f"ssl_context is given, but the connection is not TLS: set ssl: true, or write {rules.secure}://"
            )
        if self.username and not self.password and not rules.user_alone:
            raise ValueError("username is given without password")
        return self

    @classmethod
    def _check(cls, url: str) -> None:
        rules = cls.url_rules
        if not url:
            raise ValueError(f"it is empty; give a host, or {rules.example}")
        scheme, parts = _split(url, rules.plain)
        if scheme not in (rules.plain, rules.secure):
            raise ValueError(f"a broker_url is a host, or begins with {rules.plain}:// or {rules.secure}://")
        if "$" in parts.netloc:
            raise ValueError("a variable of the environment is written ${NAME} or ${NAME:-default}; a '$' itself, %24")
        if "?" in url:
            # A library would take options from here, some of which turn the checking of certificates off.
            raise ValueError(
                "a broker_url has no options behind a '?'; use the keys heartbeat, ssl_context and so on, and write a "
                "'?' in a password as %3F"
            )
        if not _is_address(url, parts):
            raise ValueError(
                "not a host or URL; in a user name or password, write '@', ':' and '/' as %40, %3A and %2F, "
                "or use the keys username and password"
            )
        if parts.username and not parts.password and not rules.user_alone:
            raise ValueError("a URL has a user and a password, or neither")
        if parts.path.strip("/") and not rules.path_key:
            raise ValueError("not a host or URL: there is nothing behind the port")
        cls.check_path(_path(parts))

    def _urls(self) -> list[str]:
        return [url.strip() for url in ([self.broker_url] if isinstance(self.broker_url, str) else self.broker_url)]

    def _server(self, url: str) -> Server:
        rules = self.url_rules
        scheme, parts = _split(url, rules.secure if self.ssl else rules.plain)
        tls = scheme == rules.secure
        # A password in a URL is for the user in it, or for the one that the broker takes where none is named.
        user, password = unquote(parts.username or ""), parts.password
        if parts.username is None or (password is None and not rules.user_alone):
            user = self.username if password is None else ""
        default_path = str(getattr(self, rules.path_key)) if rules.path_key else ""
        return Server(
            host=parts.hostname or "",
            port=parts.port or self.port or (rules.secure_port if tls else rules.port),
            tls=tls,
            username=user,
            password=self.password if password is None else unquote(password),
            path=_path(parts) or default_path,
        )


def _split(url: str, default_scheme: str) -> tuple[str, SplitResult]:
    scheme, found, rest = url.partition("://")
    if not found:
        scheme, rest = default_scheme, url
    # What is behind a '#' or '?' is refused, so nothing is cut off here. A '[' that is not closed is no host.
    try:
        return scheme, urlsplit(f"//{rest}")
    except ValueError:
        return scheme, urlsplit("//")


def _path(parts: SplitResult) -> str:
    return unquote(parts.path[1:].removesuffix("/"))


def _is_address(url: str, parts: SplitResult) -> bool:
    try:
        return (
            bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
            and not set(" \t\r\n#") & set(url)
            and "@" not in parts.path
        )
    except ValueError:
        return False
