"""What the harness asks the broker, by pika: a client that only Dramatiq uses, and a connection for each question."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker


class Broker:
    """One RabbitMQ."""

    def __init__(self, url: str) -> None:
        self._parameters = pika.URLParameters(url)
        with self._connected() as connection:
            properties = connection._impl.server_properties
            self.version = properties["version"]

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._parameters.port
        return port

    def depth(self, queue: str) -> int:
        """Messages that are ready in the queue; -1 if there is no such queue."""
        with self._channel() as channel:
            try:
                return int(channel.queue_declare(queue, passive=True).method.message_count)
            except ChannelClosedByBroker:
                return -1

    def wait_for_depth(self, queue: str, depth: int, timeout: float = 5.0) -> int:
        """The depth, as soon as it is as wanted, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while (found := self.depth(queue)) != depth and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def left(self, queues: Iterable[str], timeout: float = 30.0) -> dict[str, int]:
        """Messages in each queue that is not empty, once nobody consumes it: what was in hand counts then."""
        deadline = time.monotonic() + timeout
        found = {}
        with self._channel() as channel:
            for queue in queues:
                while True:
                    state = channel.queue_declare(queue, passive=True).method
                    if not state.consumer_count or time.monotonic() > deadline:
                        break
                    time.sleep(0.01)
                if state.message_count:
                    found[queue] = int(state.message_count)
        return found

    def wait_for_consumers(self, queues: Iterable[str], going: Callable[[], bool], timeout: float) -> bool:
        """Whether each queue gets a consumer while `going()`, looking every 5 ms at the first that has none yet."""
        deadline = time.monotonic() + timeout
        waiting = list(queues)
        while waiting and going() and time.monotonic() < deadline:
            with suppress(ChannelClosedByBroker), self._channel() as channel:
                while waiting and going() and time.monotonic() < deadline:
                    if channel.queue_declare(waiting[0], passive=True).method.consumer_count:
                        waiting.pop(0)
                    else:
                        time.sleep(0.005)
        return not waiting

    def delete(self, queues: Iterable[str], exchanges: Iterable[str] = ()) -> None:
        """Delete what is there of these."""
        with self._channel() as channel:
            for queue in queues:
                channel.queue_delete(queue)
            for exchange in exchanges:
                channel.exchange_delete(exchange)

    @contextmanager
    def _connected(self) -> Iterator[pika.BlockingConnection]:
        connection = pika.BlockingConnection(self._parameters)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        with self._connected() as connection:
            yield connection.channel()
