"""Handlers that can't be: each stops the start, with an error that names it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from app.queue.errors import ConfigError
from app.queue.handling import message_type
from app.queue.processor import MessageProcessor
from core_tests.tools.example import SendAudioMessage, UserHandler, registered


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


def test_a_parameter_of_another_name_is_told_the_right_name() -> None:
    with pytest.raises(ConfigError, match=r"method: the one parameter must be called 'message', not '\w+': ") as caught:
        registered(AnotherName())
    assert "begin its name" not in str(caught.value)


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
