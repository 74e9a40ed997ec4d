# The template's: an update changes it. Which files are yours: README.md.
"""What aio-pika raises, in the words of `app.queue.errors`."""

from __future__ import annotations

import re

from aiormq import exceptions, spec

from app.queue.broker.errors import Translation
from app.queue.broker.tls import tls_error
from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.settings.broker import Server

CONNECTION_ERRORS = (exceptions.AMQPError, OSError, RuntimeError, EOFError)
REFUSALS = (exceptions.ChannelNotFoundEntity, exceptions.ChannelPreconditionFailed)
"""What is answered for a queue that isn't there, and for one that is, with other arguments."""


def reply(error: BaseException) -> str:
    """The broker's own words, if it had any."""
    if isinstance(error.__cause__, OSError):
        return str(error.__cause__)
    text = ", ".join(str(part) for part in error.args if part is not None and part != "")
    said = str(getattr(error, "reason", ""))  # aiormq's own has a place for words that there are none of
    return text or ("" if "%s" in said else said) or type(error).__name__


def ack_timeout(why: str) -> float | None:
    """The broker's `consumer_timeout` in seconds, if that is why it has closed a channel."""
    told = re.search(r"delivery acknowledgement on channel .* timed out\. Timeout value used: (\d+) ms", why)
    return int(told[1]) / 1000 if told else None


def _lost(error: Exception, what: str) -> BrokerError | None:
    return None if isinstance(error, TimeoutError) else BrokerUnavailableError(f"{what}: {reply(error)}")


def _closed(error: Exception, what: str) -> BrokerError | None:
    """aiormq ends what waits on a channel that is closed with an Exception, and no more."""
    return BrokerUnavailableError(f"{what}: the channel was closed") if type(error) is Exception else None


translated = Translation(
    (exceptions.ChannelAccessRefused, lambda error, what: BrokerRefusedError(f"{what}: no permission: {reply(error)}")),
    ((*REFUSALS, exceptions.ChannelLockedResource), lambda error, what: BrokerRefusedError(f"{what}: {reply(error)}")),
    (CONNECTION_ERRORS, _lost),
    (Exception, _closed),
)


def connection_error(error: Exception, server: Server) -> BrokerError:
    """The reason why a connection could not be made."""
    where = f"RabbitMQ at {server.address}"
    if (of_tls := tls_error(error, where)) is not None:
        return of_tls
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        return BrokerRefusedError(f"{where}: user {server.username!r} is refused; check username and password")
    if (close := _close_of(error)) is not None:
        return BrokerRefusedError(f"{where}: {close.reply_text}")
    told = isinstance(error, exceptions.ConnectionClosed) and "vhost" in reply(error)
    if told or isinstance(error, exceptions.ConnectionNotAllowed):
        return BrokerRefusedError(f"{where}: {reply(error)}")
    if isinstance(error, TimeoutError):
        return BrokerUnavailableError(f"{where}: no answer in time")
    return BrokerUnavailableError(f"{where}: {reply(error)}")


def _close_of(error: Exception) -> spec.Connection.Close | None:
    """How the broker answered instead of opening the virtual host, if it did that.

    aiormq (6.9) says only that it did not expect this answer. The answer itself is left where the error was raised.
    """
    trace = error.__traceback__ if isinstance(error, exceptions.InvalidFrameError) else None
    while trace is not None:
        if isinstance(found := trace.tb_frame.f_locals.get("frame"), spec.Connection.Close):
            return found
        trace = trace.tb_next
    return None
