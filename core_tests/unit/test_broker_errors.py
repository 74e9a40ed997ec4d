"""What a broker's library raises, in the words of the core: the rules that are the same for all providers."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from app.queue.broker.errors import Translation, unconfirmed
from app.queue.broker.tls import after_handshake, broken_off, tls_error
from app.queue.errors import AckLostError, BrokerError, BrokerRefusedError, BrokerUnavailableError, PublishError


class LibraryError(Exception):
    """A library's own."""


class PickyError(LibraryError):
    """One of it that says more."""


translated = Translation(
    (PickyError, lambda error, what: BrokerRefusedError(f"{what}: {error}") if str(error) else None),
    (LibraryError, lambda _, what: BrokerUnavailableError(f"{what}: the library failed")),
)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (PickyError("no"), BrokerRefusedError, "it: no"),
        (PickyError(), BrokerUnavailableError, "it: the library failed"),
        (LibraryError(), BrokerUnavailableError, "it: the library failed"),
        (TimeoutError(), BrokerUnavailableError, "it: no answer in time"),
        (ConnectionResetError("reset"), BrokerUnavailableError, "it: reset"),
        (EOFError(), BrokerUnavailableError, "it: EOFError"),
    ],
)
def test_the_table_is_asked_first_and_then_the_system(error: Exception, kind: type[BrokerError], text: str) -> None:
    with pytest.raises(BrokerError) as caught, translated("it"):
        raise error
    assert (type(caught.value), str(caught.value)) == (kind, text)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [AckLostError("a"), PublishError("b"), ValueError("c"), KeyboardInterrupt()])
def test_an_error_of_ours_and_a_mistake_of_ours_stay_what_they_are(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, translated("it"):
        raise error
    assert caught.value is error


async def test_a_cancellation_that_nobody_asked_for_is_a_lost_link() -> None:
    waiting = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiting.cancel)
    with pytest.raises(BrokerUnavailableError, match="it: the connection to the broker was lost"), translated("it"):
        await waiting


async def test_a_cancellation_of_the_task_and_a_timeout_around_it_stay_what_they_are() -> None:
    async def wait() -> None:
        async with asyncio.timeout(0.01):
            with translated("it"):
                await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await wait()


def test_what_was_sent_and_never_confirmed_may_have_landed() -> None:
    error = unconfirmed(BrokerUnavailableError("the link broke"))
    assert (str(error), error.may_have_landed) == ("the link broke; the broker had not confirmed", True)


def unverified(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "self-signed certificate."
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (unverified(10), "its certificate is refused: self-signed certificate"),
        (unverified(18), "ssl_context cafile must name the authority that signed it"),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "give ssl_context certfile and keyfile"),
        (alert("SSLV3_ALERT_BAD_CERTIFICATE"), "or demands one (ssl_context certfile and keyfile)"),
        (alert("TLSV1_ALERT_UNKNOWN_CA"), "refuses the service's certificate: unknown ca"),
        (alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), "does the broker demand a certificate"),
        (alert("WRONG_VERSION_NUMBER"), "it does not speak TLS on this port"),
        (ssl.SSLError(1, "odd"), "does this port speak TLS?"),
    ],
)
def test_what_tls_says_is_a_refusal_in_words_that_help(error: ssl.SSLError, part: str) -> None:
    wrapped = LibraryError()
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        found = tls_error(raised, "Acme at h:1")
        assert isinstance(found, BrokerRefusedError)
        assert str(found).startswith("Acme at h:1: ")
        assert part in str(found)


def test_what_is_no_matter_of_tls_is_left_to_others() -> None:
    assert tls_error(ConnectionRefusedError(), "Acme") is None
    assert "after the TLS handshake" in str(after_handshake("Acme"))


def test_a_chain_of_errors_that_goes_round_in_circles_comes_to_an_end() -> None:
    one, other = LibraryError(), ConnectionRefusedError()
    one.__cause__, other.__context__ = other, one
    assert tls_error(one, "Acme") is None
    other.__cause__ = one
    assert not broken_off(one)
