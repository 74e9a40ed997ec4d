"""From a message's bytes to the handler's method."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import BaseModel, Field

from app.queue.errors import ConfigError
from app.queue.handling import current_delivery, message_type
from app.queue.policy import InvalidMessageError, Reason
from app.queue.processor import MessageProcessor, decode
from app.queue.time_limit import TimeLimit
from tests.tools.example import SendAudioMessage, UserHandler, audio

AUDIO = b'{"type": "send_audio", "user_id": 123, "content": "audio_data"}'
SECRET = "s3cret-hunter2"


def registered(handler: object, queue: str = "q") -> MessageProcessor:
    processor = MessageProcessor()
    processor.register_handler(queue, handler)
    return processor


# --- calling


async def test_a_method_whose_message_is_a_model_gets_the_validated_model() -> None:
    handler = UserHandler()
    await registered(handler).process_payload("q", audio())
    assert handler.handled == [SendAudioMessage(user_id=123, content="audio_data")]


async def test_a_method_whose_message_is_a_dict_gets_the_payload_as_it_came() -> None:
    got: list[Any] = []

    class Handler:
        async def bare(self, message: dict) -> None:  # type: ignore[type-arg]
            got.append(message)

        async def full(self, message: dict[str, Any]) -> None:
            got.append(message)

        async def mapping(self, message: Mapping[str, Any]) -> None:
            got.append(message)

    processor = registered(Handler())
    for kind in ("bare", "full", "mapping"):
        await processor.process("q", b'{"type": "%s", "n": [1, null], "f": 1.5}' % kind.encode())
    assert got == [{"type": kind, "n": [1, None], "f": 1.5} for kind in ("bare", "full", "mapping")]


async def test_a_plain_def_runs_in_another_thread_and_sees_its_delivery() -> None:
    threads: list[int] = []
    ids: list[str] = []

    class Handler:
        def work(self, message: dict[str, Any]) -> None:
            threads.append(threading.get_ident())
            ids.append(current_delivery().message_id)

    await registered(Handler()).process_payload("q", {"type": "work"})
    assert threads != [threading.get_ident()]
    assert len(ids[0]) == 32


async def test_an_async_def_runs_on_the_loop_of_the_caller() -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    class Handler:
        async def work(self, message: dict[str, Any]) -> None:
            loops.append(asyncio.get_running_loop())

    await registered(Handler()).process("q", b'{"type": "work"}')
    assert loops == [asyncio.get_running_loop()]


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_what_a_handler_raises_comes_out(kind: str) -> None:
    class Handler:
        def plain(self, message: dict[str, Any]) -> None:
            raise KeyError("user")

        async def coroutine(self, message: dict[str, Any]) -> None:
            raise KeyError("user")

    with pytest.raises(KeyError, match="user"):
        await registered(Handler()).process("q", b'{"type": "%s"}' % kind.encode())


async def test_an_async_handler_is_cancelled_after_the_timeout() -> None:
    cancelled: list[bool] = []

    class Handler:
        async def work(self, message: dict[str, Any]) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

    with pytest.raises(TimeoutError):
        await registered(Handler()).process("q", b'{"type": "work"}', TimeLimit(0.01))
    assert cancelled == [True]


async def test_a_decorator_names_a_type_that_is_no_identifier() -> None:
    got: list[str] = []

    class Handler:
        @message_type("order.created")
        async def order_created(self, message: dict[str, Any]) -> None:
            got.append(message["type"])

        @message_type("order-deleted")
        def order_deleted(self, message: dict[str, Any]) -> None:
            got.append(message["type"])

    processor = registered(Handler())
    assert processor.types("q") == ("order-deleted", "order.created")
    await processor.process("q", b'{"type": "order.created"}')
    await processor.process("q", b'{"type": "order-deleted"}')
    assert got == ["order.created", "order-deleted"]
    with pytest.raises(InvalidMessageError):
        await processor.process("q", b'{"type": "order_created"}')


async def test_a_type_is_looked_up_in_its_own_queue() -> None:
    first, second = UserHandler(), UserHandler()
    processor = registered(first, "first")
    processor.register_handler("second", second)
    await processor.process_payload("second", audio())
    assert (len(first.handled), len(second.handled)) == (0, 1)
    assert processor.handler("first") is first
    assert processor.handler("third") is None
    assert processor.types("third") == ()


async def test_inherited_and_decorated_methods_are_handlers_private_ones_and_attributes_are_not() -> None:
    got: list[str] = []

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            got.append("logged")
            return function(*args)

        return wrapper

    class Base:
        async def inherited(self, message: dict[str, Any]) -> None:
            got.append("inherited")

    class Handler(Base):
        limit = 5

        @logged
        async def decorated(self, message: dict[str, Any]) -> None:
            got.append("decorated")

        async def _private(self, message: dict[str, Any]) -> None: ...

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        @property
        def size(self) -> int:
            raise AssertionError("registering a handler reads none of its properties")

    processor = registered(Handler())
    assert processor.types("q") == ("decorated", "inherited")
    await processor.process("q", b'{"type": "decorated"}')
    await processor.process("q", b'{"type": "inherited"}')
    assert got == ["logged", "decorated", "inherited"]


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_plain_def_that_returns_a_coroutine_is_never_taken_for_done_unrun() -> None:
    got: list[str] = []

    def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(self: object, message: dict[str, Any]) -> Any:  # as people write it, without functools.wraps
            return function(self, message)

        return wrapper

    class Handler:
        @unwrapped
        async def work(self, message: dict[str, Any]) -> None:
            got.append("work")

    await registered(Handler()).process("q", b'{"type": "work"}')
    assert got == ["work"]


async def test_process_payload_leaves_the_callers_own_delivery_alone() -> None:
    seen: list[str] = []

    class Handler:
        async def inner(self, message: dict[str, Any]) -> None: ...

        async def outer(self, message: dict[str, Any]) -> None:
            before = current_delivery().message_id
            await processor.process_payload("q", {"type": "inner"})
            seen.extend([before, current_delivery().message_id])

    processor = registered(Handler())
    await processor.process_payload("q", {"type": "outer"})
    assert seen[0] == seen[1]


async def test_there_is_no_current_delivery_outside_of_a_handler() -> None:
    with pytest.raises(LookupError, match="outside of a handler"):
        current_delivery()
    await registered(UserHandler()).process_payload("q", audio())
    with pytest.raises(LookupError, match="outside of a handler"):
        current_delivery()


# --- handlers that can't be


class NoParameter:
    async def method(self) -> None: ...


class AnotherName:
    async def method(self, payload: dict[str, Any]) -> None: ...


class TwoParameters:
    async def method(self, message: dict[str, Any], more: int = 0) -> None: ...


class NoSelf:
    async def method(message: dict[str, Any]) -> None: ...  # type: ignore[misc]  # noqa: N805


class KeywordOnly:
    async def method(self, *, message: dict[str, Any]) -> None: ...


class Arguments:
    async def method(self, *message: dict[str, Any]) -> None: ...


class KeywordArguments:
    async def method(self, **message: dict[str, Any]) -> None: ...


class NoAnnotation:
    async def method(self, message) -> None: ...  # type: ignore[no-untyped-def]


class AnotherAnnotation:
    async def method(self, message: str) -> None: ...


class OptionalAnnotation:
    async def method(self, message: SendAudioMessage | None) -> None: ...


class UnknownAnnotation:
    async def method(self, message: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


class AsyncGenerator:
    async def method(self, message: dict[str, Any]) -> AsyncIterator[None]:
        yield


class Generator:
    def method(self, message: dict[str, Any]) -> Iterator[None]:
        yield


class Static:
    @staticmethod
    async def method(message: dict[str, Any]) -> None: ...


class Class:
    @classmethod
    async def method(cls, message: dict[str, Any]) -> None: ...


class Nested:
    class method:  # noqa: N801
        pass


class CallableAttribute:
    method = functools.partial(print)


WRONG_HANDLERS: list[type] = [NoParameter, AnotherName, TwoParameters, NoSelf, KeywordOnly, Arguments, KeywordArguments]
WRONG_HANDLERS += [NoAnnotation, AnotherAnnotation, OptionalAnnotation, UnknownAnnotation, AsyncGenerator, Generator]
WRONG_HANDLERS += [Static, Class, Nested, CallableAttribute]


@pytest.mark.parametrize("handler", WRONG_HANDLERS)
def test_a_public_method_that_can_not_be_a_handler_is_an_error_that_names_it(handler: type) -> None:
    with pytest.raises(ConfigError) as caught:
        registered(handler())
    assert f"{__name__}.{handler.__name__}.method" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_for_a_wrong_signature_shows_a_right_one() -> None:
    with pytest.raises(ConfigError, match=r"'async def method\(self, message: SomeModel\) -> None'.*begin its name"):
        registered(NoParameter())


def test_two_methods_for_one_type_are_an_error_that_names_it() -> None:
    class Handler:
        @message_type("same")
        async def first(self, message: dict[str, Any]) -> None: ...

        async def same(self, message: dict[str, Any]) -> None: ...

    with pytest.raises(ConfigError, match="two methods handle the type 'same'"):
        registered(Handler())


@pytest.mark.parametrize(
    "names", [["__enter__", "__exit__"], ["__aenter__"], ["__aexit__"], ["__aenter__", "__exit__"]]
)
def test_a_handler_that_would_never_be_entered_stops_the_start(names: list[str]) -> None:
    async def work(self: object, message: dict[str, Any]) -> None: ...

    half = type("HalfHandler", (), {"work": work, **dict.fromkeys(names, lambda *_: None)})
    with pytest.raises(ConfigError, match=r"HalfHandler: has .*needs both 'async def __aenter__' and"):
        MessageProcessor().register_handler("q", half())


def test_a_handler_without_a_public_method_is_an_error_that_names_it() -> None:
    class EmptyHandler:
        async def _private(self, message: dict[str, Any]) -> None: ...

    with pytest.raises(ConfigError, match=r"EmptyHandler: has no public method"):
        registered(EmptyHandler())


def test_two_handlers_for_one_queue_are_an_error_that_names_both() -> None:
    processor = registered(UserHandler(), "q")
    with pytest.raises(ConfigError, match=r"queue 'q' has two handlers: .*\.UserHandler and .*\.UserHandler"):
        processor.register_handler("q", UserHandler())


# --- messages that can't be

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
