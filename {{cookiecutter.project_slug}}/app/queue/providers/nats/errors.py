"""What nats-py raises, in the words of `app.queue.errors`."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
import nats.js.errors

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.providers.nats.config import Server

NO_JETSTREAM = (10039, 10076)
"""JetStream's codes for: not for this account, not at this server."""
UNKNOWN_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's codes for a certificate that is good, if only its authority were known."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise whatever goes wrong inside as a BrokerError that begins with `what`."""
    try:
        yield
    except BrokerError:
        raise
    except nats.js.errors.APIError as error:
        if not error.description:
            raise BrokerUnavailableError(
                f"{what}: JetStream does not answer; is it enabled (nats-server --jetstream), and has it a leader?"
            ) from error
        refused = error.err_code in NO_JETSTREAM or (error.code or 0) < 500
        kind = BrokerRefusedError if refused else BrokerUnavailableError
        raise kind(f"{what}: {error.description}") from error
    except TimeoutError as error:
        raise BrokerUnavailableError(f"{what}: no answer in time") from error
    except (nats.errors.Error, OSError) as error:
        raise BrokerUnavailableError(f"{what}: {said(error)}") from error


def connection_error(error: BaseException, server: Server, *, met: bool = False) -> BrokerError:
    """The reason why a connection could not be made; `met`: the TLS handshake was done, as far as we could see."""
    where = f"NATS at {server.host}:{server.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = error.verify_code in UNKNOWN_AUTHORITY
        hint = "; ssl_context cafile must name the authority that signed it" if unknown else ""
        return BrokerRefusedError(f"{where}: its certificate is refused: {error.verify_message.rstrip('.')}{hint}")
    if isinstance(error, ssl.SSLError):
        return BrokerRefusedError(f"{where}: {_of_tls(error)}")
    if met and isinstance(error, ConnectionError):
        return BrokerRefusedError(
            f"{where}: the server ended the connection after the TLS handshake; does it demand a certificate of the "
            "service that it knows (ssl_context certfile and keyfile)?"
        )
    text = said(error)
    if isinstance(error, nats.errors.AuthorizationError) or "authorization" in text.lower():
        who = f"user {server.username!r}" if server.username else "a client without username and password"
        return BrokerRefusedError(f"{where}: {who} is refused; check username and password")
    if isinstance(error, TimeoutError):
        return BrokerUnavailableError(f"{where}: no answer in time")
    if "INFO message" in text:
        return BrokerUnavailableError(f"{where}: what answers there is no NATS server, or one that is going down")
    return BrokerUnavailableError(f"{where}: {text}")


def said(error: BaseException) -> str:
    """The library's words without its name."""
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


def _of_tls(error: ssl.SSLError) -> str:
    """An alert is what the server has to say of us; all else is what we have to say of it."""
    alert = str(error.reason or "").partition("ALERT_")[2].replace("_", " ").lower()
    if alert in ("certificate required", "bad certificate"):
        return "the server demands a certificate of the service that it knows; give ssl_context certfile and keyfile"
    if alert:
        return f"the server refuses the service's certificate, or its TLS: {alert}"
    return f"TLS failed: {error}"
