# The template's: an update changes it. Which files are yours: README.md.
"""From what a library raises to the words of `app.queue.errors` (which means what: `docs/adding-a-provider.md`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app.queue.errors import BrokerError, BrokerUnavailableError, PublishError
from app.queue.foreign_code import ends_task

Rule = tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any, str], BrokerError | None]]
"""Exceptions, and what becomes of one: a function of the error and of what was done. None: the next rule is asked."""


class Translation:
    """`with translated("queue 'q'"): ...` raises what goes wrong inside as a BrokerError that begins with these words.

    The rules are asked in their order. After them an error of the system's is a link that broke; anything else is a
    mistake of ours, and stays what it is.
    """

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if (ours := self.of(error, what)) is error:
                raise
            raise ours from (None if isinstance(error, asyncio.CancelledError) else error)

    def of(self, error: BaseException, what: str) -> BaseException:
        """What is raised for `error`: itself, if it is not the broker's doing."""
        if isinstance(error, BrokerError):
            return error
        if isinstance(error, asyncio.CancelledError):  # of our own task, or by a library whose link broke
            lost = BrokerUnavailableError(f"{what}: the connection to the broker was lost")
            return error if ends_task(error) else lost
        for kinds, rule in self._rules:
            if isinstance(error, kinds) and (ours := rule(error, what)) is not None:
                return ours
        if isinstance(error, TimeoutError):
            return BrokerUnavailableError(f"{what}: no answer in time")
        if isinstance(error, OSError | EOFError):
            return BrokerUnavailableError(f"{what}: {str(error) or type(error).__name__}")
        return error


def unconfirmed(error: BaseException) -> PublishError:
    """For a message whose link broke after its first byte was sent: the broker may have it."""
    return PublishError(f"{error}; the broker had not confirmed", may_have_landed=True)
