"""What the counters say of an outcome, and of what fits nowhere."""

from __future__ import annotations

from itertools import product

import pytest
from prometheus_client import REGISTRY

from app.queue.instrumentation.events import ConsumingPaused, ConsumingResumed, MessageDropped, emit
from app.queue.instrumentation.prometheus import count_handling, exposition, show
from app.queue.interfaces import Delivery
from app.queue.messages.outcome import DONE, Action, Outcome, Reason
from app.queue.settings.queues import QueuesConfig
from core_tests.tools.example import queue_config
from core_tests.unit.records import delivery

DEAD = Outcome(Action.DEAD_LETTER, reason=Reason.REJECTED)
DROPPED = Outcome(Action.DROP, reason=Reason.REJECTED)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"queue_messages_{name}_total", {"queue": "q", **labels}) or 0.0


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (DONE, {"handled"}),
        (Outcome(Action.RETRY, error=RuntimeError()), {"failed", "retried"}),
        (DEAD, {"dead_lettered"}),
        (DROPPED, {"dropped"}),
        (Outcome(Action.QUARANTINE), {"quarantined"}),
        (Outcome(Action.REQUEUE), set()),
    ],
)
async def test_an_outcome_is_counted_as_what_it_is(outcome: Outcome, counted: set[str]) -> None:
    reasons = {"dead_lettered", "dropped"}
    names = {"handled", "failed", "retried", "quarantined"} | reasons

    def values() -> dict[str, float]:
        return {name: value(name, **({"reason": "rejected"} if name in reasons else {})) for name in names}

    async def decided(_: Delivery) -> Outcome:
        return outcome

    before = values()
    assert await count_handling(delivery(), decided) is outcome
    after = values()
    assert {name for name in names if after[name] != before[name]} == counted


def test_what_fits_nowhere_is_counted_too() -> None:
    before = value("dropped", reason="too_large")
    emit(MessageDropped("q", "id", Reason.TOO_LARGE))
    assert value("dropped", reason="too_large") == before + 1


def test_a_pause_is_shown_while_it_lasts() -> None:
    def paused() -> float | None:
        return REGISTRY.get_sample_value("queue_consuming_paused", {"queue": "q"})

    emit(ConsumingPaused("q", 10))
    assert paused() == 1
    emit(ConsumingResumed("q"))
    assert paused() == 0


def test_every_series_is_there_from_the_start() -> None:
    show(QueuesConfig(queues=[queue_config("from_the_start")]))
    labels = '{queue="from_the_start"} 0.0'
    shown = exposition().decode().splitlines()
    for series in ("handled_total", "failed_total", "retried_total", "quarantined_total", "held"):
        assert f"queue_messages_{series}{labels}" in shown
    for series in ("queue_messages_published_total", "queue_messages_publish_failed_total", "queue_consuming_paused"):
        assert f"{series}{labels}" in shown
    for series, reason in product(("dead_lettered", "dropped"), Reason):
        assert f'queue_messages_{series}_total{{queue="from_the_start",reason="{reason}"}} 0.0' in shown
