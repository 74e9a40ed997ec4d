"""The passes over a dead-letter queue where not everything can be moved, on the embedded provider."""

from __future__ import annotations

import pytest

from app.queue import dead_letters
from app.queue.dead_letters import DeadLetterPasses
from app.queue.errors import BrokerRefusedError
from app.queue.interfaces import Message, Place
from app.queue.messages.headers import FRESH, with_failure
from app.queue.providers.memory.broker import broker
from app.queue.providers.memory.parts import MemoryMessageHandler
from app.queue.setup import get_dead_letters
from core_tests.tools.example import queue_config
from core_tests.tools.places import dlq_name
from core_tests.tools.refusing import refuse

QUEUE = queue_config("q")


@pytest.fixture(autouse=True)
def _no_parking(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be parked is refused."""
    refuse(monkeypatch, Place.PARKED)


def leave(name: str, reason: str) -> None:
    broker.put(dlq_name("q"), with_failure(Message(b"{}", name), FRESH, queue="q", reason=reason))


async def test_one_that_can_not_be_moved_stays_and_holds_up_none_behind_it(caplog: pytest.LogCaptureFixture) -> None:
    leave("poison", "not_json")
    for number in range(3):
        leave(f"{number}", "exhausted")
    passes = DeadLetterPasses(QUEUE, get_dead_letters(QUEUE), MemoryMessageHandler("q", QUEUE))
    assert await passes.run_once() == (3, 0)
    assert [message.message_id for message in broker.messages("q")] == ["0", "1", "2"]
    assert [message.message_id for message in broker.messages(dlq_name("q"))] == ["poison"]
    assert "message poison stays: parked is full" in caplog.text
    assert "is parked" not in caplog.text


async def test_a_pass_ends_when_nothing_at_all_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "MAX_STAY", 2)
    for number in range(5):
        leave(f"{number}", "not_json")
    passes = DeadLetterPasses(QUEUE, get_dead_letters(QUEUE), MemoryMessageHandler("q", QUEUE))
    with pytest.raises(BrokerRefusedError):
        await passes.run_once()
    assert len(broker.messages(dlq_name("q"))) == 5
