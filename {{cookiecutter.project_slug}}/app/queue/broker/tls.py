# The template's: an update changes it. Which files are yours: README.md.
"""What TLS has to do with a connection that could not be made, in words that help."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

from app.queue.errors import BrokerRefusedError
from app.queue.settings.broker import Server

HANDSHAKE_TIMEOUT = 3.0
REASON_TIMEOUT = 1.0
UNKNOWN_AUTHORITY = (18, 19, 20, 21)  # OpenSSL's codes for a certificate that is good, if only its authority were known
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


def tls_error(error: BaseException | None, where: str) -> BrokerRefusedError | None:
    """What TLS says about a connection that could not be made; None if it says nothing."""
    # A chain may go round in circles: an error that is raised again has what it led to behind it.
    seen: set[int] = set()
    while not isinstance(error, ssl.SSLError):
        if error is None or id(error) in seen:
            return None
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        unknown = getattr(error, "verify_code", 0) in UNKNOWN_AUTHORITY
        hint = "; ssl_context cafile must name the authority that signed it" if unknown else ""
        return BrokerRefusedError(f"{where}: its certificate is refused: {error.verify_message.rstrip('.')}{hint}")
    return BrokerRefusedError(f"{where}: {_of_tls(error)}")


def after_handshake(where: str) -> BrokerRefusedError:
    """For a server that ends the connection when TLS is agreed on: it does not say why."""
    return BrokerRefusedError(
        f"{where}: the server ended the connection after the TLS handshake; does it demand a certificate of the "
        "service that it knows (ssl_context certfile and keyfile)?"
    )


def shaken(context: ssl.SSLContext | None) -> bool:
    """True if a TLS handshake with this context was done, as far as we could see."""
    return context is not None and bool(context.session_stats()["connect_good"])


async def reason_for(
    error: Exception, where: str, server: Server, context: ssl.SSLContext | None, secure: str
) -> BrokerRefusedError | None:
    """Why a connection broke off while it was made; None if `error` says all that can be found out.

    A broker that refuses the service's certificate says so, but after the handshake, when the service has begun to
    speak: the connection is reset, and the reason is lost with it. So it is asked for once more, by one who only
    listens. `secure` is the scheme of a URL with TLS, for a port that speaks it where that was not expected.
    """
    if not broken_off(error):
        return None
    try:
        await _listen(server, context or ssl.create_default_context())
    except ssl.SSLError as reason:
        if context is not None:
            return tls_error(reason, where)
        speaks_tls = isinstance(reason, ssl.SSLCertVerificationError)
    except (OSError, TimeoutError):
        return None
    else:
        speaks_tls = context is None
    if not speaks_tls:
        return None
    return BrokerRefusedError(f"{where}: this port speaks TLS; set ssl: true, or write {secure}://")


def broken_off(error: BaseException | None) -> bool:
    """True if the peer was there, and ended the connection without a word."""
    seen: set[int] = set()
    while error is not None and not isinstance(error, ssl.SSLError) and id(error) not in seen:
        if isinstance(error, ConnectionResetError | BrokenPipeError | asyncio.IncompleteReadError):
            return True
        seen.add(id(error))
        error = error.__cause__
    return False


async def _listen(server: Server, context: ssl.SSLContext) -> None:
    """Shake hands, and send nothing. Returns when nothing comes; raises ssl.SSLError, OSError or TimeoutError."""
    async with asyncio.timeout(HANDSHAKE_TIMEOUT):
        reader, writer = await asyncio.open_connection(server.host, server.port, ssl=context)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(REASON_TIMEOUT):
                await reader.read(1)
    finally:
        writer.transport.abort()


def _of_tls(error: ssl.SSLError) -> str:
    """An alert is what the broker has to say of us; all else is what we have to say of it."""
    reason = str(getattr(error, "reason", None) or "")
    alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
    if alert == "certificate required":
        return "the broker demands a certificate of the service; give ssl_context certfile and keyfile"
    if alert == "bad certificate":
        return "the broker refuses the service's certificate, or demands one (ssl_context certfile and keyfile)"
    if "certificate" in alert or alert == "unknown ca":
        return f"the broker refuses the service's certificate: {alert}"
    if alert == "handshake failure":
        return (
            "TLS failed: handshake failure; does the broker demand a certificate of the service (ssl_context certfile)?"
        )
    if reason in NO_TLS:
        return "it does not speak TLS on this port"
    return f"TLS failed: {error}" + ("" if alert else "; does this port speak TLS?")
