"""What becomes of a message on its way into NATS and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from app.queue.interfaces import Message
from app.queue.messages.headers import FRESH, History, history_of, with_failure, with_history
from app.queue.providers.nats.messages import (
    moved_as,
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
    past = History(attempts=3, crashes=1, replays=2, first_failed_at="2026-01-01T00:00:00.000+00:00")
    try:
        raise RuntimeError("two\nlines, a \\n that is none,\r\nand 42")
    except RuntimeError as error:
        message = with_failure(Message(b"{}", "1"), past, queue="q", reason="exhausted", error=error)
    back = there_and_back(message)
    assert history_of(back) == replace(past, moves=1)
    assert back.headers == message.headers
    assert "two\nlines" in back.headers["dlq-traceback"]


@pytest.mark.parametrize(
    "value",
    [5, 1.5, True, None, ["a", 1], {"a": {"b": 1}}, "a\nb\r", " a ", "", "\u00fc", "\x00\x85", "\ud800", "a\udfffb"],
)
@pytest.mark.parametrize("name", ["x", "a:b", "\u00fcber", "a b", " ", "\r\n"])
def test_whatever_json_can_say_comes_back_as_it_was_under_any_name(name: str, value: Any) -> None:
    assert there_and_back(Message(b"{}", "1", {name: value})).headers == {name: value}


def test_what_json_can_not_say_is_sent_as_text() -> None:
    assert isinstance(there_and_back(Message(b"{}", "1", {"x": b"bytes"})).headers["x"], str)


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


@pytest.mark.parametrize("others", ["", "{", "[1]", "5", "[" * 5000, '{"queue-attempts": -5, "dlq-reason": 7}'])
def test_what_a_foreign_client_wrote_into_our_headers_is_harmless(others: str) -> None:
    headers = {"queue-attempts": "5", "queue-crashes": "x", "queue-headers": others}
    message, _ = to_message(received(headers))
    assert history_of(message) == FRESH
    assert to_headers(with_history(message, FRESH)) == {
        "message-id": message.message_id,
        "queue-headers": '{"queue-moves": 1}',
    }


def test_the_size_of_headers_is_never_less_than_on_the_wire() -> None:
    headers = {"a": "ü" * 10, "long-name": "b"}
    wire = b"NATS/1.0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n"
    assert size(headers) >= len(wire)


def test_a_repeated_publish_is_stored_as_the_same_and_another_body_is_not() -> None:
    assert published_as(Message(b"a", "1")) == published_as(Message(b"a", "1", {"x": "y"}))
    assert len({published_as(Message(body, name)) for body in (b"a", b"b") for name in ("1", "2")}) == 4


def test_a_hand_over_is_stored_as_the_same_however_often_it_is_tried() -> None:
    assert moved_as(received(None)) == moved_as(received({"a": "b"}, delivered=3))
    assert moved_as(received(None)) != moved_as(received(None, place=6))


@pytest.mark.parametrize("message_id", [" padded ", "x\r\ninjected: yes", "caf\u00e9", ""])
def test_an_id_of_any_kind_comes_back_as_it_was(message_id: str) -> None:
    sent = to_headers(Message(b"{}", message_id))
    assert not any("\n" in value for value in sent.values())
    found, own_id = to_message(received(headers=sent))
    assert own_id == message_id
    assert found.message_id == message_id or not message_id


def test_what_the_provider_uses_of_nats_py_without_being_promised_it_is_there() -> None:
    for name in ("_close", "_process_headers", "_transport", "_status"):
        assert hasattr(Client(), name), name
