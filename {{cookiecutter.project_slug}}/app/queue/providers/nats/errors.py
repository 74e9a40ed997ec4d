# The template's: an update changes it. Which files are yours: README.md.
"""What nats-py raises, in the words of `app.queue.errors`."""

from __future__ import annotations

import nats.errors
import nats.js.errors

from app.queue.broker.errors import Translation
from app.queue.broker.tls import after_handshake, tls_error
from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.settings.broker import Server

NO_JETSTREAM = (10039, 10076)  # JetStream's codes for: not for this account, not at this server


def said(error: BaseException) -> str:
    """The library's words without its name."""
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


def _answered(error: nats.js.errors.APIError, what: str) -> BrokerError:
    if not error.description:
        return BrokerUnavailableError(
            f"{what}: JetStream does not answer; is it enabled (nats-server --jetstream), and has it a leader?"
        )
    refused = error.err_code in NO_JETSTREAM or (error.code or 0) < 500
    return (BrokerRefusedError if refused else BrokerUnavailableError)(f"{what}: {error.description}")


translated = Translation(
    (nats.js.errors.APIError, _answered),
    (TimeoutError, lambda _, what: BrokerUnavailableError(f"{what}: no answer in time")),  # some of nats-py's are both
    (nats.errors.Error, lambda error, what: BrokerUnavailableError(f"{what}: {said(error)}")),
)


def connection_error(error: BaseException, server: Server, *, met: bool = False) -> BrokerError:
    """The reason why a connection could not be made; `met`: the TLS handshake was done, as far as we could see."""
    where = f"NATS at {server.address}"
    if (of_tls := tls_error(error, where)) is not None:
        return of_tls
    if met and isinstance(error, ConnectionError):
        return after_handshake(where)
    text = said(error)
    if isinstance(error, nats.errors.AuthorizationError) or "authorization" in text.lower():
        who = f"user {server.username!r}" if server.username else "a client without username and password"
        return BrokerRefusedError(f"{where}: {who} is refused; check username and password")
    if isinstance(error, TimeoutError):
        return BrokerUnavailableError(f"{where}: no answer in time")
    if "INFO message" in text:
        return BrokerUnavailableError(f"{where}: what answers there is no NATS server, or one that is going down")
    return BrokerUnavailableError(f"{where}: {text}")
