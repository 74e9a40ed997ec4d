"""How the state of a queue follows from its parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from app.queue.run.health import (
    HELD_FOR,
    ConsumerHealth,
    PublisherHealth,
    consumer_health,
    publisher_health,
    queue_health,
    service_health,
)


def worker(
    *, registered: bool = True, quiet: bool = False, paused: bool = False, held: str | None = None, seconds: float = 0.0
) -> Any:
    parts = {
        "consumer": SimpleNamespace(registered=registered),
        "pause": SimpleNamespace(active=paused),
        "held": SimpleNamespace(detail=held, seconds=seconds, mover="down" if held else None),
    }
    return SimpleNamespace(quiet_now=quiet, **parts)


def publisher(state: str) -> Any:
    return SimpleNamespace(state=state, breaker_state="open")


@pytest.mark.parametrize(
    ("worker", "trouble", "status", "why"),
    [
        (worker(), None, "running", None),
        (worker(paused=True), None, "paused", "many different messages failed"),
        (worker(registered=False), None, "down", "the broker does not have the consumer"),
        (worker(registered=False, quiet=True), None, "running", "run alone"),
        (worker(paused=True), "its thread died", "down", "its thread died"),
        (worker(held="2 messages", seconds=HELD_FOR - 1), None, "running", "2 messages"),
        (worker(held="2 messages", seconds=HELD_FOR), None, "held", "2 messages"),
        (worker(registered=False, quiet=True, held="1,000 messages", seconds=60), None, "held", "1,000 messages"),
    ],
)
def test_a_consumer(worker: Any, trouble: str | None, status: str, why: str | None) -> None:
    health = consumer_health(worker, trouble)
    assert health.status == status
    assert health.why is why is None or (why or "?") in (health.why or "")
    assert queue_health(health, PublisherHealth()).mover == (worker.held.mover if trouble is None else None)


@pytest.mark.parametrize(
    ("state", "middleware", "link", "status", "why"),
    [
        ("ready", None, None, "ready", None),
        ("ready", None, "what it said before it was back", "ready", None),
        ("blocked", None, None, "blocked", "the broker accepts no messages for now"),
        ("down", None, "no route", "down", "no route"),
        ("down", None, None, "down", "has just been lost"),
        ("ready", "middleware A: no", None, "down", "middleware A: no"),
    ],
)
def test_a_publisher(state: str, middleware: str | None, link: str | None, status: str, why: str | None) -> None:
    health = publisher_health(publisher(state), middleware, link)
    assert (health.status, health.breaker) == (status, "open")
    assert health.why is why is None or (why or "?") in (health.why or "")


@pytest.mark.parametrize(
    ("consumer", "publisher", "status"),
    [
        (ConsumerHealth("running"), PublisherHealth("ready"), "healthy"),
        (ConsumerHealth("paused"), PublisherHealth("ready", None, "open"), "healthy"),
        (ConsumerHealth(), PublisherHealth(), "healthy"),
        (ConsumerHealth("down"), PublisherHealth("ready"), "unhealthy"),
        (ConsumerHealth("held"), PublisherHealth("ready"), "unhealthy"),
        (ConsumerHealth("running"), PublisherHealth("blocked"), "unhealthy"),
        (ConsumerHealth("running"), PublisherHealth("down"), "unhealthy"),
        (ConsumerHealth("running", "1 held", "ready"), PublisherHealth("ready"), "healthy"),
        (ConsumerHealth("running", "1 held", "blocked"), PublisherHealth("ready"), "unhealthy"),
        (ConsumerHealth("running", "1 held", "down"), PublisherHealth("ready"), "unhealthy"),
    ],
)
def test_a_queue_is_healthy_unless_one_side_is_down_or_blocked(
    consumer: ConsumerHealth, publisher: PublisherHealth, status: str
) -> None:
    queue = queue_health(consumer, publisher)
    assert (
        queue.status == service_health({"good": queue_health(ConsumerHealth(), PublisherHealth()), "q": queue}).status
    )
    assert queue.status == status


def test_what_both_sides_say_is_said_once() -> None:
    both = queue_health(ConsumerHealth("down", "no route"), PublisherHealth("down", "no route"))
    assert both.detail == "no route"
    assert queue_health(ConsumerHealth("down", "a"), PublisherHealth("down", "b")).detail == "a; b"
    assert queue_health(ConsumerHealth(), PublisherHealth()).detail is None
