"""Messages that can't be: none reaches the handler, and the reason is told without a value."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from app.queue.messages.body import decode
from app.queue.messages.outcome import InvalidMessageError, Reason
from app.queue.processor import MessageProcessor
from core_tests.tools.example import AUDIO, SendAudioMessage, UserHandler, registered

SECRET = "s3cret-hunter2"
DEEP = 100_000
BODIES: dict[str, tuple[bytes, Reason]] = {
    "empty": (b"", Reason.NOT_JSON),
    "blank": (b"  \n", Reason.NOT_JSON),
    "text": (b"hello", Reason.NOT_JSON),
    "half": (AUDIO[:-1], Reason.NOT_JSON),
    "more after it": (AUDIO + b"}", Reason.NOT_JSON),
    "two objects": (AUDIO + AUDIO, Reason.NOT_JSON),
    "not UTF-8": (b'{"type": "send_audio", "content": "caf\xe9"}', Reason.NOT_JSON),
    "UTF-16": (AUDIO.decode().encode("utf-16"), Reason.NOT_JSON),
    "pickle": (b"\x80\x04\x95\x00", Reason.NOT_JSON),
    "null bytes": (b"\x00" * 10, Reason.NOT_JSON),
    "NaN": (b'{"type": "send_audio", "user_id": NaN}', Reason.NOT_JSON),
    "Infinity": (b'{"type": "send_audio", "user_id": -Infinity}', Reason.NOT_JSON),
    "a lone surrogate": (b'{"type": "send_audio", "content": "\\ud800"}', Reason.NOT_JSON),
    "a lone surrogate as type": (b'{"type": "\\udfff"}', Reason.NOT_JSON),
    "deep lists": (b"[" * DEEP + b"]" * DEEP, Reason.NOT_JSON),
    "deep objects": (b'{"a":' * DEEP + b"1" + b"}" * DEEP, Reason.NOT_JSON),
    "a deep payload": (b'{"type": "raw", "a": ' + b"[" * DEEP + b"]" * DEEP + b"}", Reason.NOT_JSON),
    "a huge number": (b'{"type": "raw", "n": ' + b"9" * 100_000 + b"}", Reason.NOT_JSON),
    "a list": (b"[" + AUDIO + b"]", Reason.NOT_AN_OBJECT),
    "null": (b"null", Reason.NOT_AN_OBJECT),
    "a string": (b'"send_audio"', Reason.NOT_AN_OBJECT),
    "a number": (b"5", Reason.NOT_AN_OBJECT),
    "true": (b"true", Reason.NOT_AN_OBJECT),
    "no type": (b"{}", Reason.NO_TYPE),
    "type null": (b'{"type": null}', Reason.NO_TYPE),
    "type a number": (b'{"type": 5}', Reason.NO_TYPE),
    "type a list": (b'{"type": ["send_audio"]}', Reason.NO_TYPE),
    "type an object": (b'{"type": {}}', Reason.NO_TYPE),
    "type empty": (b'{"type": ""}', Reason.NO_TYPE),
    "another type": (b'{"type": "send_video"}', Reason.UNKNOWN_TYPE),
    "another case": (b'{"type": "Send_Audio"}', Reason.UNKNOWN_TYPE),
    "a private method": (b'{"type": "_private"}', Reason.UNKNOWN_TYPE),
    "a magic method": (b'{"type": "__init__"}', Reason.UNKNOWN_TYPE),
    "an attribute": (b'{"type": "handled"}', Reason.UNKNOWN_TYPE),
    "a type with a surrogate pair": (b'{"type": "\\ud83d\\ude00"}', Reason.UNKNOWN_TYPE),
    "a missing field": (b'{"type": "send_audio", "user_id": 1}', Reason.INVALID_PAYLOAD),
    "a field of another type": (b'{"type": "send_audio", "user_id": "x", "content": ""}', Reason.INVALID_PAYLOAD),
}


class Garbage(UserHandler):
    async def raw(self, message: dict[str, Any]) -> None:
        raise AssertionError("never called")

    async def _private(self, message: dict[str, Any]) -> None: ...


@pytest.mark.parametrize(("body", "reason"), BODIES.values(), ids=BODIES)
async def test_garbage_never_reaches_the_handler_and_its_reason_is_told(body: bytes, reason: Reason) -> None:
    handler = Garbage()
    with pytest.raises(InvalidMessageError) as caught:
        await registered(handler).process("q", body)
    assert caught.value.reason is reason
    assert str(caught.value)
    assert len(str(caught.value)) < 500
    assert str(caught.value).encode()
    assert handler.handled == []


async def test_a_byte_order_mark_before_a_body_is_not_seen_by_the_handler() -> None:
    got: list[Any] = []

    class Handler:
        async def raw(self, message: dict[str, Any]) -> None:
            got.append(message)

        async def send_audio(self, message: SendAudioMessage) -> None:
            got.append(message.user_id)

    processor = registered(Handler())
    await processor.process("q", codecs.BOM_UTF8 + AUDIO)
    await processor.process("q", codecs.BOM_UTF8 + b'{"type": "raw"}')
    assert got == [123, {"type": "raw"}]
    for body in (codecs.BOM_UTF8, codecs.BOM_UTF8 * 2 + AUDIO, AUDIO + codecs.BOM_UTF8):
        with pytest.raises(InvalidMessageError) as caught:
            await processor.process("q", body)
        assert caught.value.reason is Reason.NOT_JSON


async def test_a_queue_without_a_handler_knows_no_type() -> None:
    with pytest.raises(InvalidMessageError, match="queue 'q' has no type 'send_audio'; known: none") as caught:
        await MessageProcessor().process("q", AUDIO)
    assert caught.value.reason is Reason.UNKNOWN_TYPE


async def test_an_unknown_type_is_told_with_the_known_ones_and_cut_short() -> None:
    with pytest.raises(InvalidMessageError, match="known: send_audio") as caught:
        await registered(UserHandler()).process("q", b'{"type": "%s"}' % (b"x" * 100_000))
    assert len(str(caught.value)) < 300


def test_a_good_body_is_decoded_to_its_object_and_its_type() -> None:
    payload, kind = decode('{"type": "größe", "n": 12345678901234567890}'.encode())
    assert payload == {"type": "größe", "n": 12345678901234567890}
    assert kind == "größe"


# --- the summary of what doesn't fit


class Card(BaseModel):
    kind: Literal["card"]
    number: int


class Cash(BaseModel):
    kind: Literal["cash"]
    amount: int


class Order(BaseModel):
    type: str
    pin: int = 0
    short: str = Field("", max_length=3)
    digits: str = Field("", pattern=r"^\d*$")
    choice: Literal["a", "b"] = "a"
    tags: list[int] = []
    payment: Annotated[Card | Cash, Field(discriminator="kind")] | None = None


class OrderHandler:
    async def order(self, message: Order) -> None:
        raise AssertionError("never called")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pin", f'"{SECRET}"'),
        ("pin", f'["{SECRET}"]'),
        ("short", f'"{SECRET}"'),
        ("digits", f'"{SECRET}"'),
        ("choice", f'"{SECRET}"'),
        ("tags", f'[1, "{SECRET}"]'),
        ("tags", f'"{SECRET}"'),
        ("payment", f'{{"kind": "card", "number": "{SECRET}"}}'),
        ("payment", f'{{"kind": "{SECRET}"}}'),
    ],
)
async def test_what_does_not_fit_is_named_by_its_field_and_without_its_value(field: str, value: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        await registered(OrderHandler()).process("q", f'{{"type": "order", "{field}": {value}}}'.encode())
    assert str(caught.value).startswith(field)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_message_with_many_faults_names_ten_and_counts_the_rest() -> None:
    body = f'{{"type": "order", "tags": [{", ".join(["null"] * 25)}]}}'.encode()
    with pytest.raises(InvalidMessageError) as caught:
        await registered(OrderHandler()).process("q", body)
    assert str(caught.value).count("tags.") == 10
    assert str(caught.value).endswith("; and 15 more")
