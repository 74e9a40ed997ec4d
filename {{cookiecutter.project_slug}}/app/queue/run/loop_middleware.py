# The template's: an update changes it. Which files are yours: README.md.
"""LoopMiddleware: the middleware of one event loop, opened on it before the first message, and closed in the drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Generic, ParamSpec, TypeVar, cast

from app.queue.errors import PublishError
from app.queue.foreign_code import ends_task
from app.queue.middleware import HandleMiddleware, PerLoop, PublishMiddleware
from app.queue.run.supervisor import Trying
from app.queue.time_limit import until

logger = logging.getLogger(__name__)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

OPEN_TIMEOUT = 5.0  # seconds for which a publish waits for middleware that isn't open yet


class LoopMiddleware:
    """Opens what is `per_loop()`, in the order of the lists, and closes it in the opposite order and the same task.

    `handling` and `publishing` may be put around what they are for at once: a publish waits by itself until all is
    open. Deliveries may only be taken once `opened()` has returned.
    """

    def __init__(
        self,
        handling: Sequence[HandleMiddleware | PerLoop[HandleMiddleware]],
        publishing: Sequence[PublishMiddleware | PerLoop[PublishMiddleware]],
    ) -> None:
        self._later: list[_Later[Any, Any]] = []
        self.handling = tuple(cast("HandleMiddleware", self._placed(item)) for item in handling)
        self.publishing = tuple(cast("PublishMiddleware", self._placed(item)) for item in publishing)
        self._opened = asyncio.Event()
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._trying: Trying | None = None

    def _placed(self, item: object) -> object:
        if not isinstance(item, PerLoop):
            return item
        later: _Later[Any, Any] = _Later(item)
        self._later.append(later)
        return later

    @property
    def detail(self) -> str | None:
        """Why it isn't open, in words, or None."""
        if self._opened.is_set() or not self._later:
            return None
        return "not opened yet" if self._trying is None else f"{self._trying.name}: {self._trying.detail}"

    async def opened(self) -> None:
        await self._opened.wait()

    async def close(self) -> None:
        """Close all of it, however long that takes."""
        self._closing.set()
        if not self._opened.is_set():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                for later in self._later:
                    self._trying = Trying(f"middleware {later.name}", "not opened yet")
                    await self._trying.until_it_works(later.open, stack)
                self._opened.set()
                await self._closing.wait()
        except BaseException as error:
            if ends_task(error):
                raise
            logger.exception("the __aexit__ of a middleware failed")


class _Later(Generic[Arguments, Result]):
    """Stands where a middleware will be called, and hands calls on to it as soon as it is open."""

    def __init__(self, source: PerLoop[Callable[Arguments, Awaitable[Result]]]) -> None:
        self.name = source.name
        self._source = source
        self._function: Callable[Arguments, Awaitable[Result]] | None = None
        self._open = asyncio.Event()

    async def open(self, stack: AsyncExitStack) -> None:
        """Make the middleware and open it. Raises what that raises."""
        async with AsyncExitStack() as trying:
            function: Any = await trying.enter_async_context(self._source.make())
            if not callable(function):
                raise TypeError("its __aenter__ must return the middleware: end it with 'return self'")
            stack.push_async_exit(trying.pop_all())
        self._function = function
        self._open.set()

    async def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if self._function is None:
            await until(self._open, OPEN_TIMEOUT)
        if self._function is None:
            raise PublishError(f"the middleware {self.name} is not open yet, so nothing was sent")
        return await self._function(*args, **kwargs)
