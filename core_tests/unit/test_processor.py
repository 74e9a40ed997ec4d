"""From a message's bytes to the handler's method: how it is found and called."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

import pytest

from app.queue.handling import current_delivery, message_type
from app.queue.messages.outcome import InvalidMessageError
from app.queue.time_limit import TimeLimit
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, registered


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


def test_the_routes_of_a_queue_say_which_types_it_takes_with_which_models() -> None:
    class Handler(UserHandler):
        @message_type("order.created")
        def order_created(self, message: dict[str, Any]) -> None: ...

    handler = Handler()
    routes = registered(handler).routes("q")
    assert [(route.type_name, route.model, route.plain) for route in routes] == [
        ("order.created", None, True),
        ("send_audio", SendAudioMessage, False),
    ]
    assert [route.function for route in routes] == [handler.order_created, handler.send_audio]
    assert registered(handler).routes("another") == ()


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
