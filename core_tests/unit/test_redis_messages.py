"""What becomes of a message on its way into Redis and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.queue.interfaces import Message
from app.queue.messages.headers import FRESH, History, history_of, with_failure, with_history
from app.queue.providers.redis.messages import to_fields, to_message
from app.queue.providers.redis.scripts import MAX_ARGUMENTS

ENTRY = "1700000000000-5"


def there_and_back(message: Message) -> Message:
    return to_message(ENTRY, to_fields(message))[0]


def test_a_message_comes_back_as_it_was() -> None:
    message = Message(b'{"type": "x"}', "an id", {"traceparent": "00-1-2-03", "n": 7})
    assert to_message(ENTRY, to_fields(message)) == (
        Message(message.body, message.message_id, message.headers, ()),
        "an id",
    )


def test_the_history_and_the_failure_come_back_as_they_were() -> None:
    past = History(attempts=3, crashes=1, replays=2, first_failed_at="2026-01-01T00:00:00.000+00:00")
    try:
        raise RuntimeError("two\nlines, a \\n that is none,\r\nand 42")
    except RuntimeError as error:
        message = with_failure(Message(b"{}", "1"), past, queue="q", reason="exhausted", error=error)
    back = there_and_back(message)
    assert history_of(back) == replace(past, moves=1)
    assert back.headers == message.headers


@pytest.mark.parametrize(
    "value", [5, 1.5, True, None, ["a", 1], {"a": {"b": 1}}, "a\nb\r", "", "\u00fc", "\x00", "\udc80"]
)
@pytest.mark.parametrize("name", ["x", "a:b", "\u00fcber", "", "\r\n"])
def test_whatever_json_can_say_comes_back_as_it_was_under_any_name(name: str, value: Any) -> None:
    assert there_and_back(Message(b"{}", "1", {name: value})).headers == {name: value}


def test_what_json_can_not_say_is_sent_as_text() -> None:
    assert isinstance(there_and_back(Message(b"{}", "1", {"x": b"bytes"})).headers["x"], str)


def test_an_id_that_is_no_utf8_does_not_stop_a_message() -> None:
    assert there_and_back(Message(b"{}", "a\udc80b")).message_id == "a?b"
    assert to_message(ENTRY, [b"body", b"{}", b"message_id", b"\xff"])[0].message_id == "\ufffd"


def test_a_message_without_id_has_that_of_its_entry_and_keeps_it() -> None:
    message, identity = to_message(ENTRY, [b"body", b"{}"])
    assert (message.message_id, identity) == ("1700000000000-5", "")
    again, identity = to_message("1800000000000-0", to_fields(message))
    assert again.message_id == identity == "1700000000000-5"


def test_an_entry_without_a_body_has_an_empty_one() -> None:
    assert to_message(ENTRY, [b"type", b"x"])[0].body == b""


def test_unknown_fields_travel_on_whatever_becomes_of_the_headers() -> None:
    message, _ = to_message(ENTRY, [b"tenant", b"\xff", b"body", b"{}", b"tenant", b"again"])
    past = with_failure(with_history(message, FRESH), History(attempts=1), queue="q", reason="r")
    fields = to_fields(past)
    assert fields[-4:] == [b"tenant", b"\xff", b"tenant", b"again"]


def test_no_message_has_more_fields_than_a_script_can_pass_on() -> None:
    message, _ = to_message(ENTRY, [b"x", b"y"] * 6000)
    assert len(to_fields(message)) <= MAX_ARGUMENTS + 6 < 7900


@pytest.mark.parametrize("headers", [b"", b"{", b"[1]", b"5", b"[" * 5000, b"\xff", b'{"queue-attempts": -5}'])
def test_what_a_foreign_client_wrote_into_our_headers_is_harmless(headers: bytes) -> None:
    message, _ = to_message(ENTRY, [b"body", b"{}", b"headers", headers])
    assert history_of(message) == FRESH
    assert to_fields(with_history(message, FRESH)) == [
        *(b"body", b"{}", b"message_id", b"1700000000000-5"),
        *(b"headers", b'{"queue-moves": 1}'),
    ]


def test_properties_of_another_provider_are_left_out() -> None:
    assert to_fields(Message(b"{}", "1", {}, object())) == [b"body", b"{}", b"message_id", b"1"]
