# The template's: an update changes it. Which files are yours: README.md.
"""RedisClient: one connection over which the commands of many tasks go at the same time.

redis-py's own client sends one command and waits for its answer, with as many connections as there are commands under
way, and connects again without a word. Here all that is asked in the same moment is sent together, the answers come in
its order, and what is lost stays lost until the supervisor connects anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from ssl import SSLContext
from typing import Any

from redis.asyncio.connection import Connection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from app.queue.broker.connection import CONNECT_TIMEOUT, BrokerConnection, forget
from app.queue.errors import BrokerUnavailableError
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.errors import code, said
from app.queue.providers.redis.scripts import Script
from app.queue.settings.broker import Server

REQUEST_TIMEOUT = 5.0
CLOSE_TIMEOUT = 1.0
Argument = str | bytes | int | float


class _Wire(Connection):
    """redis-py's connection: handshake and protocol. Never used after its end, for it would connect again."""

    def __init__(self, server: Server, tls: SSLContext | None) -> None:
        self._tls = tls
        super().__init__(
            host=server.host,
            port=server.port,
            db=int(server.path),
            username=server.username or None,
            password=server.password or None,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT,
        )

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), **({} if self._tls is None else {"ssl": self._tls})}

    def abort(self) -> None:
        """Close the socket without a word more: a peer that takes nothing is not waited for."""
        if self._writer is not None:
            self._writer.transport.abort()


class RedisClient(BrokerConnection[RedisQueueConfig]):
    """The commands, and their answers."""

    def __init__(self, config: RedisQueueConfig, server: Server) -> None:
        super().__init__(config, server)
        self.error: Exception | None = None  # what redis-py made of its end, if that was it
        self._wire = _Wire(server, self.context)
        self._unsent: list[bytes] = []
        self._unanswered: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._to_send = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        await self._wire.connect()  # type: ignore[no-untyped-call]
        self._tasks = [asyncio.create_task(self._send_on()), asyncio.create_task(self._receive_on())]

    @property
    def is_open(self) -> bool:
        return bool(self._tasks) and not self.ended.done()

    @property
    def waits_since(self) -> float | None:
        """Since when the oldest command has been waiting for its answer, in monotonic seconds; None if none does."""
        return self._unanswered[0][1] if self._unanswered else None

    async def call(self, *command: Argument, timeout: float | None = REQUEST_TIMEOUT) -> Any:
        """Send one command, and return its answer: bytes, int, None, or a list of them.

        Raises BrokerUnavailableError if the connection is lost, TimeoutError, or what Redis answers as a ResponseError.
        """
        self.check()
        packed = self._wire.pack_command(*command)  # first, for it may fail, and then no answer must be waited for
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._unanswered.append((answer, time.monotonic()))
        self._unsent.extend(packed)
        self._to_send.set()
        if timeout is None:
            return await answer
        async with asyncio.timeout(timeout):
            return await answer

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        timeout: float | None = REQUEST_TIMEOUT,
    ) -> Any:
        """Run a script, and return its answer, as `call()` does."""
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *arguments, timeout=timeout)
        except NoScriptError:  # the server has restarted, or forgotten it
            return await self.call("EVAL", script.text, len(keys), *keys, *arguments, timeout=timeout)

    def lose(self, why: str) -> None:
        if self.ended.done():
            return
        super().lose(why)
        self._wire.abort()
        for answer, _ in self._unanswered:
            if not answer.done():
                answer.set_exception(BrokerUnavailableError(why))
        self._unanswered.clear()

    async def close(self) -> None:
        self.lose("closed")
        for task in self._tasks:
            task.cancel()
        closing = asyncio.create_task(self._wire.disconnect())
        closing.add_done_callback(forget)
        await asyncio.wait([closing, *self._tasks], timeout=CLOSE_TIMEOUT)
        closing.cancel()

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        self.lose(f"the connection to the broker was lost: {said(error)}")

    async def _send_on(self) -> None:
        while True:
            await self._to_send.wait()
            self._to_send.clear()
            together, self._unsent = self._unsent, []
            try:
                await self._wire.send_packed_command(together, check_health=False)
            except RedisError as error:
                self._fail(error)
                return

    async def _receive_on(self) -> None:
        while True:
            try:
                reply = await self._wire.read_response(disable_decoding=True, disconnect_on_error=False)
            except ResponseError as error:
                reply = error
            except (RedisError, ValueError) as error:  # a ValueError is redis-py's, of what is no protocol of Redis'
                self._fail(error)
                return
            if not self._unanswered:
                self.lose("the server sent what nobody had asked for")
                return
            answer, _ = self._unanswered.popleft()
            if isinstance(reply, ResponseError):
                if not answer.done():
                    answer.set_exception(reply)
                if code(reply) == "READONLY":
                    self.lose("the server has become a replica, and takes nothing")
                    return
            elif not answer.done():
                answer.set_result(reply)
