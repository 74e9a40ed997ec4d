"""What RabbitMQ's provider makes of a message, and of a delay, when the message is moved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.queue.interfaces import Message, Place
from app.queue.messages.message import wait_of
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.message_handler import RabbitMQMessageHandler
from app.queue.providers.rabbitmq.orders import without_orders
from app.queue.settings.queues import RetryConfig

DEATHS = ["x-death", "x-first-death-queue", "x-first-death-reason", "x-last-death-queue"]
COUNTS = ["x-delivery-count", "x-acquired-count"]


@pytest.mark.parametrize("name", DEATHS)
def test_what_the_broker_writes_about_deaths_elsewhere_is_not_passed_on_and_is_named(name: str) -> None:
    message = Message(b"{}", "1", {name: [{"count": 1}], "kept": 1}, "properties")
    expected = {"kept": 1, "dlq-dropped-headers": name}
    assert without_orders(message, "q") == Message(b"{}", "1", expected, "properties")


def test_what_the_broker_writes_about_our_own_wait_queues_and_counts_is_not_passed_on_nor_named() -> None:
    headers: dict[str, Any] = {**dict.fromkeys([*DEATHS, *COUNTS], 1), "x-first-death-queue": "retry_q_1000"}
    assert without_orders(Message(b"{}", "1", {**headers, "kept": 1}), "q") == Message(b"{}", "1", {"kept": 1})
    assert without_orders(Message(b"{}", "1", headers), "other").headers == {
        "dlq-dropped-headers": "x-death, x-first-death-queue, x-first-death-reason, x-last-death-queue"
    }


def test_names_of_what_was_left_behind_add_up_each_once() -> None:
    once = without_orders(Message(b"{}", "1", {"CC": ["a"], "x-delay": 1}), "q")
    again = without_orders(replace(once, headers={**once.headers, "CC": ["b"], "BCC": ["c"]}), "q")
    assert again.headers == {"dlq-dropped-headers": "CC, x-delay, BCC"}


def test_names_that_the_library_would_cut_are_not_passed_on_and_are_named() -> None:
    fits, alike = "n" * 128, "\u00fc" * 64
    moved = without_orders(Message(b"{}", "1", {fits: 1, alike: 2, alike + "1": 3, alike + "2": 4}), "q")
    assert {fits: 1, alike: 2}.items() <= moved.headers.items()
    assert moved.headers.keys() - {fits, alike} == {"dlq-dropped-headers"}
    assert moved.headers["dlq-dropped-headers"].startswith("\u00fc")


def test_all_other_headers_are_passed_on() -> None:
    message = Message(b"{}", "1", {"x-tenant": 1, "death": 2, "traceparent": "00", "cc": "a"})
    assert without_orders(message, "q") is message


@pytest.mark.parametrize(("delay", "wait"), [(0.0, 1.0), (1.0, 1.0), (1.5, 2.0), (4.0, 4.0), (99.0, 4.0)])
def test_a_delay_without_a_wait_queue_of_its_own_waits_in_the_next_longer_one(delay: float, wait: float) -> None:
    assert wait_of((1.0, 2.0, 4.0), delay) == wait


async def test_a_retry_goes_to_a_wait_queue_that_there_is() -> None:
    config = RabbitMQQueueConfig(name="q", type="rabbitmq", retry=RetryConfig(initial_delay=1, multiplier=2))
    processor = RabbitMQMessageHandler("q", config)
    assert processor.place(Place.RETRY, 1.5) == "retry_q_2000"
    assert processor.place(Place.DLQ, 0.0) == "dlq_q"
