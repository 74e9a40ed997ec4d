# The template's: an update changes it. Which files are yours: README.md.
"""NatsClient: nats-py's client, where some of its habits don't do for a service."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from app.queue.errors import BrokerError, BrokerRefusedError

REQUEST_TIMEOUT = 5.0
_MAY_NOT = re.compile('permissions violation for (publish|subscription) to "(.*?)"', re.IGNORECASE)


class NatsClient(Client):
    """A request ends when its link does, and when the server forbids it, instead of waiting for its timeout.

    And no message of a foreign client ends the connection: nats-py's reader dies of a status that is not text, which
    the server passes on, so that it would come again over the next connection, and end that.
    """

    def __init__(self) -> None:
        super().__init__()
        self._prefix = ""
        self._numbers = itertools.count()
        self._deaf: BrokerRefusedError | None = None  # why no answer can come, if the server forbids to receive any
        self._requests: dict[str, tuple[str, asyncio.Future[Msg]]] = {}

    async def listen(self) -> None:
        """Receive the answers to requests. Once, after connecting."""
        self._prefix = self.new_inbox()
        await self.subscribe(f"{self._prefix}.*", cb=self._on_answer)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float | None = REQUEST_TIMEOUT,
        old_style: bool = False,  # noqa: ARG002 - nats-py's signature
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """Publish, and return the answer. Raises BrokerError, or nats.errors.Error."""
        if self._deaf is not None:
            raise self._deaf
        number = str(next(self._numbers))
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._requests[number] = (subject, answer)
        try:
            async with asyncio.timeout(timeout):
                await self.publish(subject, payload, reply=f"{self._prefix}.{number}", headers=headers)
                answered = await answer
        finally:
            del self._requests[number]
        if answered.headers and answered.headers.get("Status") == "503":
            raise nats.errors.NoRespondersError
        return answered

    def end_requests(self, error: BrokerError, subject: str | None = None) -> None:
        """Raise `error` in all requests that wait, or in those to one subject, in small letters as nats-py has it."""
        for its_subject, answer in self._requests.values():
            if subject in (None, its_subject.lower()) and not answer.done():
                answer.set_exception(error)

    def note(self, error: Exception) -> None:
        """Take what the server says of its own accord."""
        if (found := _MAY_NOT.search(str(error))) is None:
            return
        if found[1].lower() == "publish":
            self.end_requests(BrokerRefusedError(f"no permission to publish to {found[2]!r}"), found[2])
        else:
            self._deaf = BrokerRefusedError("no permission to subscribe to '_INBOX.>', where answers come")
            self.end_requests(self._deaf)

    def abort(self) -> None:
        """Close the socket without a word more: a peer that takes nothing is not waited for."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        try:
            await super()._close(status, do_cbs)
        except OSError:
            # Its last words could not be sent, and it has cleaned nothing up. Again, then, with nothing left to say.
            self._status = Client.DISCONNECTED
            await super()._close(status, do_cbs)

    async def _on_answer(self, answered: Msg) -> None:
        _, answer = self._requests.get(answered.subject.rpartition(".")[2], ("", None))
        if answer is not None and not answer.done():
            answer.set_result(answered)

    async def _process_headers(self, headers: Any) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except (UnicodeDecodeError, IndexError):
            return None
