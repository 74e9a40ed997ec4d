"""What becomes of a message on its way into NATS and back."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio.msg import Msg

from app.queue.headers import FRESH, History, history, with_failure, with_history
from app.queue.interfaces import Message
from app.queue.providers.nats.messages import (
    fitted,
    handed_over_as,
    published_as,
    size,
    to_headers,
    to_message,
)

REPLY = "$JS.ACK.q.service.{delivered}.{place}.9.{time}.0"


def received(headers: dict[str, str] | None, body: bytes = b"{}", place: int = 5, delivered: int = 1) -> Msg:
    reply = REPLY.format(delivered=delivered, place=place, time=1_700_000_000_000_000_000)
    return Msg(_client=None, subject="q", reply=reply, data=body, headers=headers)  # type: ignore[arg-type]


def there_and_back(message: Message) -> Message:
    return to_message(received(to_headers(message), message.body))[0]


def test_a_message_comes_back_as_it_was() -> None:
    message = Message(b'{"type": "x"}', "an id", {"traceparent": "00-1-2-03", "who": 'a "b" \\n c'})
    assert there_and_back(message) == message


def test_the_history_and_the_failure_come_back_as_they_were() -> None:
    past = History(attempts=3, crashes=1, returns=2, first_failed_at="2026-01-01T00:00:00.000+00:00")
    try:
        raise RuntimeError("two\nlines, a \\n that is none,\r\nand 42")
    except RuntimeError as error:
        message = with_failure(Message(b"{}", "1"), past, queue="q", reason="exhausted", error=error)
    back = there_and_back(message)
    assert history(back) == past
    assert back.headers == message.headers
    assert "two\nlines" in back.headers["dlq-traceback"]


@pytest.mark.parametrize("value", [5, 1.5, True, None, ["a", 1], {"a": {"b": 1}}, b"bytes"])
def test_a_value_that_is_not_text_is_sent_as_text(value: Any) -> None:
    assert isinstance(there_and_back(Message(b"{}", "1", {"x": value})).headers["x"], str)


def test_a_name_that_can_not_be_sent_is_an_error() -> None:
    with pytest.raises(ValueError, match="'a:b'"):
        to_headers(Message(b"{}", "1", {"a:b": "c"}))


def test_orders_to_the_server_do_not_travel_on() -> None:
    orders = {"Nats-Rollup": "all", "nats-ttl": "1s", "Nats-Expected-Stream": "x", "Nats-Msg-Id": "7", "a": "b"}
    message, identity = to_message(received(orders))
    assert (message.headers, message.message_id, identity) == ({"a": "b"}, "7", "7")
    assert to_headers(Message(b"{}", "1", orders)) == {"message-id": "1", "a": "b"}


def test_our_id_counts_more_than_what_the_server_stored_it_as() -> None:
    assert to_message(received({"Nats-Msg-Id": "a", "message-id": "b"}))[1] == "b"
    assert to_message(received({"message-id": "b", "Nats-Msg-Id": "a"}))[1] == "b"


def test_a_message_without_id_has_the_same_one_in_every_delivery() -> None:
    first, identity = to_message(received(None))
    again, _ = to_message(received(None, delivered=2))
    other, _ = to_message(received(None, place=6))
    assert identity == ""
    assert first.message_id == again.message_id != other.message_id


def test_what_a_foreign_client_wrote_into_our_headers_is_harmless() -> None:
    headers = {"queue-attempts": "-5", "queue-crashes": "9" * 30, "queue-returns": "x", "dlq-reason": "\\q"}
    message, _ = to_message(received(headers))
    assert history(message) == FRESH
    assert message.headers["dlq-reason"] == "\\q"


def test_a_name_that_can_be_read_and_not_written_is_left_out_and_said() -> None:
    message, _ = to_message(received({"a/b": "1", "c": "2"}))
    assert message.headers == {"c": "2", "dlq-dropped-headers": "a/b"}
    assert to_headers(with_history(message, FRESH))["c"] == "2"


def test_headers_are_fitted_without_those_that_decide_what_becomes_of_the_message() -> None:
    past = History(attempts=3, first_failed_at="2026-01-01T00:00:00.000+00:00")
    message = with_failure(Message(b"{}", "1", {"large": "x" * 5000, "small": "y"}), past, queue="q", reason="r")
    whole = to_headers(message)
    assert fitted(whole, size(whole)) == whole
    less = fitted(whole, 2000)
    assert size(less) <= 2000
    assert (less["small"], less["dlq-reason"], less["queue-attempts"], less["message-id"]) == ("y", "r", "3", "1")
    assert less["dlq-dropped-headers"] == "large"


def test_the_size_of_headers_is_never_less_than_on_the_wire() -> None:
    headers = {"a": "ü" * 10, "long-name": "b"}
    wire = b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"
    assert size(headers) >= len(wire)


def test_a_repeated_publish_is_stored_as_the_same_and_another_body_is_not() -> None:
    assert published_as(Message(b"a", "1")) == published_as(Message(b"a", "1", {"x": "y"}))
    assert len({published_as(Message(body, name)) for body in (b"a", b"b") for name in ("1", "2")}) == 4


def test_a_hand_over_is_stored_as_the_same_however_often_it_is_tried() -> None:
    assert handed_over_as(received(None)) == handed_over_as(received({"a": "b"}, delivered=3))
    assert handed_over_as(received(None)) != handed_over_as(received(None, place=6))
