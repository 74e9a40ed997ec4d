"""What the counters say of an outcome, and of what fits nowhere."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from app.queue.instrumentation.events import MessageDropped, emit
from app.queue.instrumentation.prometheus import count_handling
from app.queue.interfaces import Delivery
from app.queue.messages.outcome import DONE, Action, Outcome, Reason
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
