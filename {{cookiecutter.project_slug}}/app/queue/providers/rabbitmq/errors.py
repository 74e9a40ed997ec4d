"""What aio-pika raises, in the words of `app.queue.errors`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import aio_pika.exceptions
import aiormq.exceptions
from yarl import URL

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError

CONNECTION_ERRORS = (
    aiormq.exceptions.AMQPError,
    aio_pika.exceptions.ChannelInvalidStateError,
    OSError,
    RuntimeError,
    EOFError,
    TimeoutError,
)
UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's codes for a certificate that is good, if only its authority were known."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise whatever goes wrong inside as a BrokerError that begins with `what`.

    A link that breaks cancels whoever waits on it from within aiormq. That is no cancellation of ours: the task was not
    asked to stop.
    """
    try:
        yield
    except BaseException as error:
        if (ours := translation(what, error)) is error:
            raise
        raise ours from (None if isinstance(error, asyncio.CancelledError) else error)


def translation(what: str, error: BaseException) -> BaseException:
    """What `translated()` raises for `error`: itself, if it is not the broker's doing."""
    match error:
        case BrokerError():
            return error
        case asyncio.CancelledError():
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                return error
            return BrokerUnavailableError(f"{what}: the connection to the broker was lost")
        case aiormq.exceptions.ChannelAccessRefused():
            return BrokerRefusedError(f"{what}: no permission: {reply(error)}")
        case aiormq.exceptions.ChannelPreconditionFailed() | aiormq.exceptions.ChannelNotFoundEntity():
            return BrokerRefusedError(f"{what}: {reply(error)}")
    if isinstance(error, CONNECTION_ERRORS):
        return BrokerUnavailableError(f"{what}: {reply(error)}")
    if type(error) is Exception:  # with which aiormq ends what waits on a channel that is closed
        return BrokerUnavailableError(f"{what}: the channel was closed")
    return error


def connection_error(error: Exception, url: URL) -> BrokerError:
    """The reason why a connection could not be made, without the password of the URL."""
    where = f"RabbitMQ at {url.host}:{url.port}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        unknown = getattr(cause, "verify_code", 0) in UNKNOWN_AUTHORITY
        hint = "; ssl_context cafile must name the authority that signed it" if unknown else ""
        return BrokerRefusedError(f"{where}: its certificate is refused: {cause.verify_message.rstrip('.')}{hint}")
    if cause is not None:
        return BrokerRefusedError(f"{where}: {_of_tls(cause)}")
    if isinstance(error, aiormq.exceptions.ProbableAuthenticationError | aiormq.exceptions.AuthenticationError):
        return BrokerRefusedError(f"{where}: user {url.user!r} is refused; check username and password")
    if isinstance(error, aiormq.exceptions.InvalidFrameError) and "Connection.Close" in reply(error):
        # aiormq says only that it did not expect this answer to its Connection.Open.
        return BrokerRefusedError(
            f"{where}: virtual host {vhost(url)!r} is refused to user {url.user!r}: it isn't there, or not theirs"
        )
    if isinstance(error, aiormq.exceptions.ConnectionNotAllowed):
        return BrokerRefusedError(
            f"{where}: virtual host {vhost(url)!r} is refused to user {url.user!r}: {reply(error)}"
        )
    if isinstance(error, aiormq.exceptions.ConnectionClosed) and "vhost" in reply(error):
        return BrokerRefusedError(
            f"{where}: virtual host {vhost(url)!r} is refused to user {url.user!r}: {reply(error)}"
        )
    if isinstance(error, TimeoutError):
        return BrokerUnavailableError(f"{where}: no answer in time")
    return BrokerUnavailableError(f"{where}: {reply(error)}")


def _of_tls(error: ssl.SSLError) -> str:
    """An alert is what the broker has to say of us; all else is what we have to say of it."""
    alert = str(getattr(error, "reason", "")).partition("ALERT_")[2].replace("_", " ").lower()
    if alert == "certificate required":
        return "the broker demands a certificate of the service; give ssl_context certfile and keyfile"
    if "certificate" in alert or alert == "unknown ca":
        return f"the broker refuses the service's certificate: {alert}"
    if alert == "handshake failure":
        return (
            "TLS failed: handshake failure; does the broker demand a certificate of the service (ssl_context certfile)?"
        )
    return f"TLS failed: {error}" + ("" if alert else "; does this port speak TLS?")


def broken_off(error: BaseException | None) -> bool:
    """True if the peer was there, and ended the connection without a word."""
    while error is not None and not isinstance(error, ssl.SSLError):
        if isinstance(error, ConnectionResetError | BrokenPipeError | asyncio.IncompleteReadError):
            return True
        error = error.__cause__
    return False


def vhost(url: URL) -> str:
    """The virtual host that a whole URL names."""
    return url.path[1:] or "/"


def reply(error: BaseException) -> str:
    """The broker's own words, if it had any."""
    if isinstance(error.__cause__, OSError):
        return str(error.__cause__)
    text = ", ".join(str(part) for part in error.args if part is not None and part != "")
    return text or str(getattr(error, "reason", "")) or type(error).__name__
