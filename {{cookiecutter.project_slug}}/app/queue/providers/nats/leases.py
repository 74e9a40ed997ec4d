# The template's: an update changes it. Which files are yours: README.md.
"""NatsLeases, and Pull: what asks one durable consumer for messages, and keeps ours what is in flight."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.errors import NotFoundError

from app.queue.broker.leases import Lease, Leases
from app.queue.broker.polling import Polling
from app.queue.errors import BrokerError, BrokerUnavailableError, DeliveryLostError
from app.queue.interfaces import Message
from app.queue.providers.nats.client import REQUEST_TIMEOUT
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.connection import NatsConnection
from app.queue.providers.nats.errors import translated
from app.queue.providers.nats.messages import to_message
from app.queue.providers.nats.streams import CONSUMER

logger = logging.getLogger(__name__)

EXPIRES = 1.0  # seconds for which the server keeps a request; that it says so then is a sign of life, too
ANSWER_WITHIN = 2.0  # seconds after that until it is asked again: NATS 2.9 forgets requests whose stream has changed
MAX_UNANSWERED = 4  # requests in a row
LOOK_AFTER = 5  # requests in a row that brought nothing, after which the consumer is looked at
MAX_REFUSED = 3  # requests in a row that the server may refuse: another consumer has just asked for as much, say
SECOND = 1_000_000_000


class NatsLeases(Leases[Msg]):
    """A lease's key is its message's place in the stream. The server never says that one is lost."""

    connection: NatsConnection

    def __init__(
        self, connection: NatsConnection, stream: str, config: NatsQueueConfig, *, renews: bool = True
    ) -> None:
        super().__init__(connection, config.ack_wait, f"stream {stream!r}")
        self.left: dict[int, int] = {}  # in flight at the end: place in the stream, and how often it had been delivered
        self._stream = stream
        self._renews = renews and config.declare
        self._stood: tuple[object, int | None] | None = None
        self.next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{CONSUMER}"

    def received(self, message: Msg) -> Lease[Msg] | None:
        """Note a message as in flight; None if it is so already."""
        return self.take(message.metadata.sequence.stream, message)

    def read(self, lease: Lease[Msg]) -> tuple[Message, str]:
        return to_message(lease.received)

    async def close(self, *, leave: bool = True) -> None:
        metadata = [lease.received.metadata for lease in self._in_flight.values()]
        self.left = {one.sequence.stream: one.num_delivered for one in metadata}
        await super().close(leave=leave)

    async def ack(self, lease: Lease[Msg]) -> None:
        """Return when the server has forgotten the message. Raises BrokerError."""
        lease.check()
        try:
            await self.settle(self.connection.request(lease.received.reply, b"+ACK"))
        except nats.errors.NoRespondersError:
            await self._look_for_the_consumer(lease)
        lease.let_go()

    async def _look_for_the_consumer(self, lease: Lease[Msg]) -> None:
        """Nobody took an ack: in a cluster whose server died, for some seconds nobody may. Raises BrokerError."""
        try:
            with translated(self.where):
                await self.connection.jetstream.consumer_info(self._stream, CONSUMER)
        except BrokerError as error:
            if isinstance(error.__cause__, NotFoundError):
                lease.let_go()
                raise DeliveryLostError("the delivery's consumer is gone from the server") from None
            raise
        raise BrokerUnavailableError(f"{self.where}: its consumer has no leader at the moment")

    async def put_back(self, lease: Lease[Msg], delay: float) -> None:
        order = json.dumps({"delay": int(delay * SECOND)}) if delay else ""
        with translated("nak"):
            await self.connection.client.publish(lease.received.reply, f"-NAK {order}".encode())

    async def prolong(self, leases: Sequence[Lease[Msg]]) -> tuple[Lease[Msg], ...]:
        with translated("in progress"):
            for lease in leases:
                await self.connection.client.publish(lease.received.reply, b"+WPI")
        return ()

    async def leave(self, leases: Sequence[Lease[Msg]]) -> None:
        for lease in leases:
            await self.put_back(lease, 0.0)

    async def take_one(self) -> Lease[Msg] | None:
        """The next message, or None if there is none at the moment. Raises BrokerError."""
        client = self.connection.client
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        async def answered(message: Msg) -> None:
            if not answer.done():
                answer.set_result(message)

        with translated(self.where):
            inbox = await client.subscribe(client.new_inbox(), cb=answered)
            try:
                await client.publish(self.next, b'{"batch": 1, "no_wait": true}', reply=inbox.subject)
                ends: set[asyncio.Future[Msg] | asyncio.Future[str]] = {answer, self.connection.ended}
                self._stood = None
                for _ in range(2):
                    await asyncio.wait(ends, timeout=REQUEST_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
                    if answer.done() or self.connection.ended.done() or not await self.look_if_stuck():
                        break
                if not answer.done():
                    raise BrokerUnavailableError(f"{self.where}: no answer")
            finally:
                await inbox.unsubscribe()
        return self.received(answer.result()) if answer.result().reply else None

    async def look_if_stuck(self) -> bool:
        """Nothing came for seconds: is that strange? Raises BrokerUnavailableError if it has been so for two looks.

        A server that was killed may have in flight what its stream has no more. NATS 2.9 tries one of these with each
        request, for ever, and gives nothing else. A new consumer helps, which the next link makes.
        """
        stood, self._stood = self._stood, None
        with suppress(BrokerUnavailableError), translated(self.where):  # the requests tell whether the server is there
            info = await self.connection.jetstream.consumer_info(self._stream, CONSUMER)
            limit, in_flight = info.config.max_ack_pending or 0, info.num_ack_pending or 0
            if info.num_pending and in_flight and not info.paused and not 0 < limit <= in_flight:
                self._stood = (info.created, info.delivered and info.delivered.consumer_seq)
        if self._stood is None or self._stood != stood:
            return self._stood is not None
        said = f"{self.where}: {info.num_pending} messages wait, and nobody gets any: {CONSUMER!r} must be made anew"
        logger.error(said)
        if self._renews:
            with translated(self.where):
                await self.connection.jetstream.delete_consumer(self._stream, CONSUMER)
            raise BrokerUnavailableError(said)
        return True


class Pull(Polling):
    """One request at a time, for as many messages as there is room for. Each that comes is given to `took`, once."""

    _leases: NatsLeases

    def __init__(
        self, leases: NatsLeases, limit: int, took: Callable[[Lease[Msg]], None], on_end: Callable[[str], None]
    ) -> None:
        super().__init__(leases, limit, on_end, patience=EXPIRES)
        self._took = took
        self._asked = self._refused = self._unanswered = self._in_vain = 0
        self._answered = asyncio.Event()
        self._error: BrokerUnavailableError | None = None
        self._inbox: Subscription | None = None

    @property
    def on_their_way(self) -> int:
        return self._asked

    async def fetch(self, room: int) -> None:
        client = self._leases.connection.client
        self._asked = room
        self._in_vain += 1
        self._answered.clear()
        request = json.dumps({"batch": room, "expires": int(EXPIRES * SECOND)}).encode()
        with translated(self._leases.where):
            if self._inbox is None:
                self._inbox = await client.subscribe(client.new_inbox(), cb=self._on_message)
            await client.publish(self._leases.next, request, reply=self._inbox.subject)
        try:
            async with asyncio.timeout(EXPIRES + ANSWER_WITHIN):
                await self._answered.wait()
            self._unanswered = 0
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered >= MAX_UNANSWERED:
                raise BrokerUnavailableError(f"{self._leases.where}: the broker does not answer") from None
        if self._error is not None:
            raise self._error
        if self._refused:
            await asyncio.sleep(EXPIRES)
        elif not self._unanswered and self._in_vain and self._in_vain % LOOK_AFTER == 0:
            await self._leases.look_if_stuck()

    async def close(self) -> None:
        await super().close()
        if self._inbox is not None:
            with suppress(BrokerError), translated("closing"):
                await self._inbox.unsubscribe()

    async def _on_message(self, received: Msg) -> None:
        if received.reply == "":
            self._on_status(received)
            return
        self._refused = self._in_vain = 0
        self._asked -= 1
        if self._asked <= 0:
            self._answered.set()
        if (lease := self._leases.received(received)) is not None:
            self._took(lease)

    def _on_status(self, received: Msg) -> None:
        headers, where = received.headers or {}, self._leases.where
        status, why = headers.get("Status"), headers.get("Description", "")
        if status == "100":
            return
        if status == "503" or "Consumer Deleted" in why:
            self._error = BrokerUnavailableError(f"the server has no such consumer any more: was the {where} deleted?")
        elif status == "408":
            self._refused = 0
        else:
            self._refused += 1
            if self._refused >= MAX_REFUSED:
                self._error = BrokerUnavailableError(f"{where}: the server refuses to give messages: {why}")
        self._asked = 0
        self._answered.set()
