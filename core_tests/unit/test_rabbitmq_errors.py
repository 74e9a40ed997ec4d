"""What RabbitMQ's libraries raise, in the words of this service."""

from __future__ import annotations

import asyncio
import ssl

import aio_pika.exceptions
import aiormq.exceptions as aiormq
import pytest

from app.queue.broker.tls import broken_off
from app.queue.errors import AckLostError, BrokerError, BrokerRefusedError, BrokerUnavailableError, PublishError
from app.queue.providers.rabbitmq.errors import ack_timeout, connection_error, reply, translated
from app.queue.settings.broker import Server

SECRET = "s3cret-hunter2"
NODE = Server("broker", 5671, tls=True, username="bob", password=SECRET, path="my/host")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def unverified(code: int = 10, message: str = "certificate has expired") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


CONNECTION_ERRORS = [
    (ConnectionRefusedError(111, "Connection refused"), BrokerUnavailableError, ["Connection refused"]),
    (OSError("no such host"), BrokerUnavailableError, ["no such host"]),
    (TimeoutError(), BrokerUnavailableError, ["no answer in time"]),
    (EOFError(), BrokerUnavailableError, ["EOFError"]),
    (
        aiormq.AMQPConnectionError(111, "Connect call failed ('127.0.0.1', 5671)"),
        BrokerUnavailableError,
        ["Connect call failed ('127.0.0.1', 5671)"],
    ),
    (
        aiormq.AMQPConnectionError(-2, "Name or service not known"),
        BrokerUnavailableError,
        ["Name or service not known"],
    ),
    (aiormq.AMQPConnectionError(), BrokerUnavailableError, ["Unexpected connection problem"]),
    (
        aiormq.ProbableAuthenticationError("ACCESS_REFUSED"),
        BrokerRefusedError,
        ["user 'bob' is refused", "username and password"],
    ),
    (aiormq.AuthenticationError("ACCESS_REFUSED"), BrokerRefusedError, ["user 'bob' is refused"]),
    (
        aiormq.ConnectionNotAllowed(530, "NOT_ALLOWED - access to vhost 'my/host' refused"),
        BrokerRefusedError,
        ["NOT_ALLOWED - access to vhost 'my/host' refused"],
    ),
    (
        aiormq.ConnectionClosed(530, "NOT_ALLOWED - vhost my/host not found"),
        BrokerRefusedError,
        ["NOT_ALLOWED - vhost my/host not found"],
    ),
    (
        aiormq.ConnectionClosed(320, "CONNECTION_FORCED - node is shutting down"),
        BrokerUnavailableError,
        ["CONNECTION_FORCED - node is shutting down"],
    ),
    (unverified(), BrokerRefusedError, ["its certificate is refused: certificate has expired"]),
    (
        unverified(18, "self-signed certificate"),
        BrokerRefusedError,
        ["its certificate is refused: self-signed certificate; ssl_context cafile must name the authority"],
    ),
    (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), BrokerRefusedError, ["give ssl_context certfile and keyfile"]),
    (alert("TLSV1_ALERT_UNKNOWN_CA"), BrokerRefusedError, ["refuses the service's certificate: unknown ca"]),
    (
        alert("SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        BrokerRefusedError,
        ["refuses the service's certificate: certificate expired"],
    ),
    (alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), BrokerRefusedError, ["does the broker demand a certificate"]),
    (alert("TLSV1_ALERT_PROTOCOL_VERSION"), BrokerRefusedError, ["TLS failed: ", "PROTOCOL_VERSION"]),
    (
        caused(aiormq.AMQPConnectionError("failed"), caused(OSError("failed"), unverified())),
        BrokerRefusedError,
        ["its certificate is refused: certificate has expired"],
    ),
    (
        caused(ConnectionError("failed"), ssl.SSLError(1, "WRONG_VERSION_NUMBER")),
        BrokerRefusedError,
        ["TLS failed", "WRONG_VERSION_NUMBER", "does this port speak TLS?"],
    ),
]


@pytest.mark.parametrize(("error", "kind", "parts"), CONNECTION_ERRORS)
def test_a_connection_that_fails_says_where_and_why_and_whether_waiting_helps(
    error: Exception, kind: type[BrokerError], parts: list[str]
) -> None:
    found = connection_error(error, NODE)
    assert type(found) is kind
    assert str(found).startswith("RabbitMQ at broker:5671: ")
    assert [part for part in parts if part not in str(found)] == [], str(found)
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), True),
        (caused(aiormq.AMQPConnectionError("closed"), asyncio.IncompleteReadError(b"", 7)), True),
        (caused(aiormq.AMQPConnectionError("failed"), ConnectionRefusedError(111, "refused")), False),
        (caused(aiormq.AMQPConnectionError("failed"), alert("TLSV1_ALERT_UNKNOWN_CA")), False),
        (TimeoutError(), False),
    ],
)
def test_a_connection_that_broke_off_without_a_word_is_told_from_others(error: Exception, is_so: bool) -> None:
    assert broken_off(error) is is_so


TRANSLATIONS = [
    (aiormq.ChannelAccessRefused(403, "ACCESS_REFUSED - queue 'q'"), BrokerRefusedError, "no permission: "),
    (aiormq.ChannelPreconditionFailed(406, "PRECONDITION_FAILED - x-queue-type"), BrokerRefusedError, "PRECONDITION"),
    (aiormq.ChannelNotFoundEntity(404, "NOT_FOUND - no queue 'q'"), BrokerRefusedError, "NOT_FOUND"),
    (aiormq.ChannelClosed(504, "CHANNEL_ERROR"), BrokerUnavailableError, "CHANNEL_ERROR"),
    (aiormq.ConnectionClosed(320, "CONNECTION_FORCED"), BrokerUnavailableError, "CONNECTION_FORCED"),
    (aiormq.ChannelInvalidStateError("closed"), BrokerUnavailableError, "closed"),
    (aio_pika.exceptions.ChannelInvalidStateError("no channel"), BrokerUnavailableError, "no channel"),
    (ConnectionResetError(104, "Connection reset by peer"), BrokerUnavailableError, "reset by peer"),
    (RuntimeError("Connection closed"), BrokerUnavailableError, "Connection closed"),
    (EOFError(), BrokerUnavailableError, "EOFError"),
    (TimeoutError(), BrokerUnavailableError, "no answer in time"),
]


@pytest.mark.parametrize(("error", "kind", "part"), TRANSLATIONS)
def test_an_error_of_the_libraries_becomes_a_broker_error_that_says_what_was_done(
    error: Exception, kind: type[BrokerError], part: str
) -> None:
    with pytest.raises(BrokerError) as caught, translated("queue 'q'"):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value).startswith("queue 'q': ")
    assert part in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [AckLostError("a"), PublishError("b"), BrokerRefusedError("c"), ValueError("d")])
def test_an_error_of_ours_and_a_mistake_of_ours_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translated("queue 'q'"):
        raise error
    assert caught.value is error


async def test_a_cancellation_that_nobody_asked_for_is_a_lost_connection() -> None:
    waiting = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiting.cancel)  # as aiormq does when its connection breaks
    lost = pytest.raises(BrokerUnavailableError, match="queue 'q': the connection to the broker was lost")
    with lost, translated("queue 'q'"):
        await waiting


async def test_a_cancellation_of_the_task_itself_stays_one() -> None:
    async def wait() -> None:
        with translated("queue 'q'"):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (aiormq.ChannelClosed(404, "NOT_FOUND"), "NOT_FOUND"),
        (OSError(111, "refused"), "111, refused"),
        (RuntimeError("a", None, "", 5), "a, 5"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_the_words_of_an_error_are_the_brokers_or_all_there_are_or_its_name(error: Exception, text: str) -> None:
    assert text in reply(error)


def test_a_broker_that_takes_a_message_back_tells_its_time() -> None:
    """The text of RabbitMQ 3.10's rabbit_channel."""
    why = (
        "the connection to the broker was lost: PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. "
        "Timeout value used: 8000 ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
    assert ack_timeout(why) == 8.0
    assert ack_timeout("the connection to the broker was lost") is None
