"""A foreign client's view of RabbitMQ, by pika: it shares no code with the service under test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pika.exceptions

from app.queue.config import RetryConfig
from app.queue.messages.message import retry_name
from core_tests.tools.places import dlq_name, parked_name, quarantine_name


@contextmanager
def channel(url: str) -> Iterator[Any]:
    """A channel of a plain pika connection."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


def publish(url: str, queue: str, *bodies: bytes, **properties: Any) -> None:
    """Publish bodies as they are, confirmed."""
    with channel(url) as ch:
        ch.confirm_delivery()
        for body in bodies:
            ch.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True)


def depth(url: str, queue: str) -> int:
    """How many messages are ready in the queue; -1 if there is no such queue."""
    with channel(url) as ch:
        try:
            return int(ch.queue_declare(queue, passive=True).method.message_count)
        except pika.exceptions.ChannelClosedByBroker:
            return -1


def drain(url: str, queue: str) -> list[tuple[Any, bytes]]:
    """Take everything out of the queue: (properties, body) each."""
    messages: list[tuple[Any, bytes]] = []
    with channel(url) as ch:
        while True:
            method, properties, body = ch.basic_get(queue, auto_ack=True)
            if method is None:
                return messages
            messages.append((properties, body))


def delete_queues(url: str, queue: str, retry: RetryConfig | None = None) -> None:
    """Delete the queue with all its places, for the delays that the tests use."""
    names = [queue, dlq_name(queue), parked_name(queue), quarantine_name(queue), f"retry_{queue}_crashed"]
    names += [retry_name(queue, delay) for delay in {*(retry or RetryConfig()).delays(), *TEST_RETRY.delays()}]
    with channel(url) as ch:
        for name in names:
            ch.queue_delete(name)


TEST_RETRY = RetryConfig(max_attempts=3, initial_delay=0.1, multiplier=2)
"""The delays of the tests: 0.1 s and 0.2 s."""
