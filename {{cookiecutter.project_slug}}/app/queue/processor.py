# The template's: an update changes it. Which files are yours: README.md.
"""MessageProcessor: from a message's bytes to the handler's method."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from app.queue.errors import ConfigError
from app.queue.foreign_code import InThisProcess
from app.queue.handling import TYPE_ATTRIBUTE, DeliveryInfo, as_current_delivery
from app.queue.messages.body import Payload, decode, encode_json, json_text
from app.queue.messages.outcome import InvalidMessageError, Reason

Function = Callable[[Any], Any]
UNLIMITED: AbstractContextManager[None] = nullcontext()
_RULE = "a public method is a message handler, with one parameter, 'message', and no 'yield':"
_PRIVATE = "if it is no handler, begin its name with '_'"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Route:
    """One message type of one queue."""

    type_name: str  # as it stands in the message
    function: Function  # the handler's method, which is called with `argument()`
    model: type[BaseModel] | None  # what the payload must fit; None if the method takes it as it came, a dict
    plain: bool  # True for a plain `def`, which runs in a thread

    def argument(self, body: bytes, payload: Payload) -> Any:
        """What the method is called with. Raises InvalidMessageError."""
        if self.model is None:
            return payload
        try:
            return self.model.model_validate_json(body)
        except ValidationError as error:
            raise InvalidMessageError(Reason.INVALID_PAYLOAD, summary(error)) from None


class MessageProcessor:
    """Finds the handler of a message by its queue and its type, validates the payload, and calls it."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}
        self._routes: dict[str, dict[str, Route]] = {}

    def register_handler(self, queue: str, handler: object) -> None:
        """Make every public method of `handler` the handler of a message type of `queue`. Raises ConfigError."""
        if queue in self._handlers:
            raise ConfigError(f"queue {queue!r} has two handlers: {_name(self._handlers[queue])} and {_name(handler)}")
        _check_context(handler)
        routes: dict[str, Route] = {}
        for name, member in inspect.getmembers_static(type(handler)):
            if name.startswith("_") or not (callable(member) or isinstance(member, staticmethod | classmethod)):
                continue
            kind = getattr(member, TYPE_ATTRIBUTE, name)
            if kind in routes:
                raise ConfigError(f"{_name(handler)}: two methods handle the type {kind!r}")
            routes[kind] = _route(handler, name, member, kind)
        if not routes:
            raise ConfigError(f"{_name(handler)}: has no public method, so it handles no message type")
        self._handlers[queue] = handler
        self._routes[queue] = routes

    def handler(self, queue: str) -> object | None:
        return self._handlers.get(queue)

    def queues(self) -> tuple[str, ...]:
        return tuple(self._handlers)

    def routes(self, queue: str) -> tuple[Route, ...]:
        """The routes of `queue`, in the order of their types; none if it has no handler."""
        return tuple(sorted(self._routes.get(queue, {}).values(), key=lambda route: route.type_name))

    def types(self, queue: str) -> tuple[str, ...]:
        """The message types of `queue` that have a handler."""
        return tuple(route.type_name for route in self.routes(queue))

    async def process(self, queue: str, body: bytes, limit: AbstractContextManager[None] = UNLIMITED) -> None:
        """Call the handler for a message's body. Raises InvalidMessageError, or what the handler raises.

        An `async def` handler is called inside `limit`, a TimeLimit. A plain `def` runs in a thread of the loop's
        default executor; a thread can't be stopped, so it has all the time it takes.
        """
        route, argument = self.resolve(queue, body)
        if route.plain:
            result, error = await asyncio.to_thread(_called, route.function, argument)
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # it knows this frame, which would know it
            if inspect.isawaitable(result):  # a plain function around an async one
                with InThisProcess():
                    await result
        else:
            with limit, InThisProcess():
                await route.function(argument)

    async def process_payload(self, queue: str, payload: Payload) -> None:
        """The same for a body that is decoded already, and was not received: it has an id of its own."""
        with as_current_delivery(DeliveryInfo(queue, secrets.token_hex(16), 1, {})):
            await self.process(queue, encode_json(payload))

    def resolve(self, queue: str, body: bytes) -> tuple[Route, Any]:
        """The route of a message, and the argument for it. Raises InvalidMessageError if it can never be handled."""
        payload, kind = decode(body)
        route = self._routes.get(queue, {}).get(kind)
        if route is None:
            text = f"queue {queue!r} has no type {kind[:100]!r}; known: {', '.join(self.types(queue)) or 'none'}"
            raise InvalidMessageError(Reason.UNKNOWN_TYPE, text)
        return route, route.argument(json_text(body), payload)


def _called(function: Function, argument: Any) -> tuple[Any, BaseException | None]:
    """What a function returned or raised: not every exception may go from one thread to another by a future.

    One with a StopIteration is never done in Python 3.11, and is done without an error with a subclass of that.
    """
    try:
        with InThisProcess():
            return function(argument), None
    except BaseException as error:  # noqa: BLE001 - a handler may raise anything
        return None, error


def summary(error: ValidationError) -> str:
    """What doesn't fit, without the values: they may be private, and the text goes into logs and headers."""
    problems = error.errors(include_url=False, include_input=False)
    lines = [f"{'.'.join(map(str, problem['loc'])) or 'message'}: {_said(problem)}" for problem in problems[:10]]
    if len(problems) > len(lines):
        lines.append(f"and {len(problems) - len(lines)} more")
    return "; ".join(lines)


def _said(problem: Any) -> str:
    if problem["type"] == "union_tag_invalid":
        return f"{problem['ctx']['discriminator']} must be one of {problem['ctx']['expected_tags']}"
    return str(problem["msg"])


def _route(handler: object, name: str, member: Any, kind: str) -> Route:
    where = f"{_name(handler)}.{name}"
    example = f"'async def {name}(self, message: SomeModel) -> None' or '(self, message: dict[str, Any])'"
    if not inspect.isfunction(member):
        raise ConfigError(f"{where}: {_RULE} {example}; {_PRIVATE}")
    method = getattr(handler, name)
    parameters = list(inspect.signature(method).parameters.values())
    if len(parameters) == 1 and parameters[0].name != "message" and parameters[0].kind in _POSITIONAL:
        raise ConfigError(f"{where}: the one parameter must be called 'message', not {parameters[0].name!r}: {example}")
    takes_message = [parameter.name for parameter in parameters] == ["message"] and parameters[0].kind in _POSITIONAL
    if not takes_message or inspect.isasyncgenfunction(member) or inspect.isgeneratorfunction(member):
        raise ConfigError(f"{where}: {_RULE} {example}; {_PRIVATE}")
    try:
        annotation = typing.get_type_hints(member).get("message")
    except Exception as error:  # noqa: BLE001 - an annotation may be any expression
        raise ConfigError(f"{where}: the annotation of 'message' can't be read: {error}") from None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        model: type[BaseModel] | None = annotation
    elif (typing.get_origin(annotation) or annotation) in (dict, Mapping):
        model = None
    else:
        raise ConfigError(f"{where}: 'message' must be annotated with a pydantic model or a dict: {example}")
    return Route(kind, method, model, plain=not _is_async(member))


def _check_context(handler: object) -> None:
    """What a handler opens is opened by `async with`; half of that, or a plain `with`, would silently never happen."""
    there = {name for name in ("__enter__", "__exit__", "__aenter__", "__aexit__") if hasattr(type(handler), name)}
    if there and not {"__aenter__", "__aexit__"} <= there:
        raise ConfigError(
            f"{_name(handler)}: has {' and '.join(sorted(there))}; to be entered before its first message and left "
            "after its last, a handler needs both 'async def __aenter__' and 'async def __aexit__'"
        )


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function)) or inspect.iscoroutinefunction(function)


def _name(handler: object) -> str:
    return f"{type(handler).__module__}.{type(handler).__qualname__}"
