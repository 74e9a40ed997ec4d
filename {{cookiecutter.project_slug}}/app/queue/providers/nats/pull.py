"""Pull: what asks one durable consumer for messages, and keeps ours what is in hand."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from app.queue.errors import BrokerError, BrokerUnavailableError, DeliveryLostError
from app.queue.interfaces import Delivery
from app.queue.providers.nats.client import REQUEST_TIMEOUT
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.errors import translated
from app.queue.providers.nats.messages import to_message
from app.queue.providers.nats.streams import CONSUMER

logger = logging.getLogger(__name__)

EXPIRES = 1.0
"""Seconds for which the server keeps a request. It says so when that is over, which is a sign of life, too."""
SILENT_AFTER = 10.0
"""Seconds without an answer to a request until the server is thought to have forgotten it."""
MAX_REFUSED = 3
"""Requests that the server may refuse in a row, because another consumer has just asked for as much, for example."""
KEEP_EVERY = 5.0
SECOND = 1_000_000_000


@dataclass(slots=True, eq=False)
class Token:
    """A message in hand."""

    received: Msg
    pull: Pull
    since: float

    def check(self) -> None:
        """Raise DeliveryLostError if the link that it came over is gone."""
        if not self.pull.has(self):
            raise DeliveryLostError("the delivery's link is gone")

    async def ack(self) -> None:
        """Return when the server has forgotten the message. Raises BrokerError."""
        self.check()
        try:
            await self.pull.request(self.received.reply, b"+ACK")
        except nats.errors.NoRespondersError:
            self.let_go()
            raise DeliveryLostError("the delivery's consumer is gone from the server") from None
        self.let_go()

    async def put_back(self, delay: float = 0.0) -> None:
        """Have the message delivered again. If this doesn't reach the server, it is after `ack_wait` all the same."""
        self.let_go()
        with suppress(BrokerError), translated("nak"):
            order = json.dumps({"delay": int(delay * SECOND)}) if delay else ""
            await self.pull.connection.client.publish(self.received.reply, f"-NAK {order}".encode())

    def let_go(self) -> None:
        """Keep the message no longer: it is settled, or is to come again."""
        self.pull.let_go(self)


class Pull:
    """Has at most `limit` messages in hand, of which each is given to `on_message` once.

    There is one request at a time, for as many messages as there is room. If it isn't answered, or if the consumer is
    deleted, `on_end` is called with the reason.
    """

    def __init__(
        self,
        connection: NatsConnection,
        stream: str,
        limit: int,
        ack_wait: float,
        on_message: Callable[[Token], None] = lambda _: None,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.connection = connection
        self._stream = stream
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{CONSUMER}"
        self._limit = limit
        self._ack_wait = ack_wait
        self._on_message = on_message
        self._on_end = on_end
        self._in_hand: dict[int, Token] = {}
        self._settling: set[asyncio.Future[Msg]] = set()
        self._asking = False
        self._asked = 0
        self._asked_at = 0.0
        self._refused = 0
        self._room = asyncio.Event()
        self._unasked = asyncio.Event()
        self._inbox: Subscription | None = None
        self._tasks = [asyncio.create_task(self._ask_on()), asyncio.create_task(self._keep())]

    @property
    def asks(self) -> bool:
        """True while messages are asked for."""
        return self._asking

    async def start(self) -> None:
        """Ask for messages. Raises BrokerError."""
        if self._inbox is None:
            with translated(f"stream {self._stream!r}"):
                inbox = self.connection.client.new_inbox()
                self._inbox = await self.connection.client.subscribe(inbox, cb=self._received)
        self._asking = True
        self._room.set()

    def stop(self) -> None:
        """Ask for nothing more. A request can't be taken back, so messages may come until it has ended."""
        self._asking = False

    async def ended(self) -> None:
        """Return when nothing more can come.

        To unsubscribe before that would let messages be sent to nobody: they would come again only after `ack_wait`,
        and look like those of a consumer that died.
        """
        self.stop()
        if self._asked and self.connection.is_open:
            answered = asyncio.create_task(self._unasked.wait())
            ends: set[asyncio.Future[Any]] = {answered, self.connection.ended}
            await asyncio.wait(ends, timeout=EXPIRES + 1.0, return_when=asyncio.FIRST_COMPLETED)
            answered.cancel()

    async def take(self) -> Token | None:
        """The next message, whatever the limit is, or None if there is none at the moment. Raises BrokerError."""
        client = self.connection.client
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        async def answered(message: Msg) -> None:
            if not answer.done():
                answer.set_result(message)

        with translated(f"stream {self._stream!r}"):
            inbox = await client.subscribe(client.new_inbox(), cb=answered)
            try:
                request = b'{"batch": 1, "no_wait": true}'
                await client.publish(self._next, request, reply=inbox.subject)
                ends: set[asyncio.Future[Any]] = {answer, self.connection.ended}
                await asyncio.wait(ends, timeout=REQUEST_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
                if not answer.done():
                    raise BrokerUnavailableError(f"stream {self._stream!r}: no answer")
            finally:
                await inbox.unsubscribe()
        received = answer.result()
        if received.reply == "":
            return None
        token = self._in_hand[_place(received)] = Token(received, self, time.monotonic())
        return token

    async def close(self) -> None:
        """Receive and keep nothing any more; what is in hand will come again."""
        self._asking = False
        for task in self._tasks:
            task.cancel()
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            with suppress(BrokerError), translated("closing"):
                await inbox.unsubscribe()
        if self._settling and self.connection.is_open:
            await asyncio.wait(self._settling, timeout=EXPIRES)
            await asyncio.sleep(0)  # they let go of what they have settled
        for token in list(self._in_hand.values()):
            await token.put_back()

    async def request(self, reply: str, order: bytes) -> None:
        """Settle a message. `close()` waits for that, so that it is known what became of it."""
        settling = asyncio.ensure_future(self.connection.request(reply, order))
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        await settling

    def has(self, token: Token) -> bool:
        """True while the token can be settled."""
        return self._in_hand.get(_place(token.received)) is token and self.connection.is_open

    def let_go(self, token: Token) -> None:
        """It is not in hand any more."""
        if self._in_hand.get(_place(token.received)) is token:
            del self._in_hand[_place(token.received)]
            self._room.set()

    async def _received(self, received: Msg) -> None:
        if received.reply == "":
            self._status(received)
            return
        self._refused = 0
        self._asked = max(0, self._asked - 1)
        if not self._asked:
            self._answered()
        place = _place(received)
        if (known := self._in_hand.get(place)) is not None:
            known.received = received  # this loop was blocked for long, and could not say that we are still at it
            return
        token = self._in_hand[place] = Token(received, self, time.monotonic())
        self._on_message(token)

    def _status(self, received: Msg) -> None:
        headers = received.headers or {}
        status, why = headers.get("Status"), headers.get("Description", "")
        if status == "503" or "Consumer Deleted" in why:
            self._asking = False
            self._answered()
            self._on_end(f"the server has no such consumer any more: was the stream {self._stream!r} deleted?")
        elif status == "408":
            self._refused = 0
            self._answered()
        elif status != "100":
            self._refused += 1
            if self._refused >= MAX_REFUSED:
                self._on_end(f"the server refuses to give messages of stream {self._stream!r}: {why}")
            asyncio.get_running_loop().call_later(EXPIRES, self._answered)

    def _answered(self) -> None:
        """There is no request now."""
        self._asked = 0
        self._unasked.set()
        self._room.set()

    async def _ask_on(self) -> None:
        while True:
            await self._room.wait()
            self._room.clear()
            room = self._limit - len(self._in_hand)
            if self._inbox is None or not self._asking or self._asked or room <= 0:
                continue
            self._asked, self._asked_at = room, time.monotonic()
            self._unasked.clear()
            request = json.dumps({"batch": room, "expires": int(EXPIRES * SECOND)}).encode()
            with suppress(BrokerError), translated("pull"):
                await self.connection.client.publish(self._next, request, reply=self._inbox.subject)

    async def _keep(self) -> None:
        """Say of what has long been in hand that we are at it, and see whether requests are answered."""
        turn = min(self._ack_wait / 4, KEEP_EVERY)
        while True:
            began = time.monotonic()
            await asyncio.sleep(turn)
            now = time.monotonic()
            with suppress(BrokerError), translated("in progress"):
                for token in list(self._in_hand.values()):
                    if now - token.since >= turn:
                        await self.connection.client.publish(token.received.reply, b"+WPI")
            blocked = now - began > turn + 1.0  # by a handler: what was answered meanwhile has not been read yet
            if self._asked and not blocked and now - self._asked_at > SILENT_AFTER:
                self._on_end(f"the server does not answer for the consumer of stream {self._stream!r}")


def to_delivery(queue: str, token: Token) -> Delivery:
    """A message in hand, as the core knows it."""
    message, identity = to_message(token.received)
    redelivered = token.received.metadata.num_delivered > 1
    return Delivery(queue, message, redelivered, token, identity)


def _place(received: Msg) -> int:
    return received.metadata.sequence.stream
