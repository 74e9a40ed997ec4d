"""What a person does with dead letters, as data, on the embedded provider."""

from __future__ import annotations

from typing import Any

import pytest

from app.queue.dead_letters import Replayed, count, peek, replay
from app.queue.errors import BrokerUnavailableError
from app.queue.interfaces import Delivery, Message, Place
from app.queue.messages.headers import History, with_failure
from app.queue.providers.memory.broker import broker
from app.queue.providers.memory.parts import MemoryMessageHandler
from app.queue.setup import get_dead_letters, get_processor
from core_tests.tools.example import queue_config
from core_tests.tools.places import dlq_name, parked_name

QUEUE = queue_config("q")


def dead(number: int, error: Exception | None = None, **headers: Any) -> Message:
    """A message as it lies in the dead-letter queue."""
    message = Message(b'{"type": "a", "n": %d}' % number, f"id-{number}", {"traceparent": "00-abc", **headers})
    return with_failure(message, History(attempts=3), queue="q", reason="exhausted", error=error)


@pytest.fixture(autouse=True)
def _three() -> None:
    """Three dead letters."""
    for number in range(3):
        broker.put(dlq_name("q"), dead(number, ValueError("no account")))


async def test_a_listing_says_all_that_is_known_of_each_message_and_leaves_it_where_it_is() -> None:
    listing = await peek(get_dead_letters(QUEUE), 2)
    assert (listing.place, listing.depth) == (Place.DLQ, 3)
    assert [letter.id for letter in listing.letters] == ["id-0", "id-1"]
    first = listing.letters[0]
    assert (first.place, first.reason, first.attempts) == (Place.DLQ, "exhausted", 3)
    assert first.first_failed_at[:2] == first.last_failed_at[:2] == "20"
    assert (first.error_type, first.error) == ("builtins.ValueError", "no account")
    assert "ValueError: no account" in first.traceback
    assert first.body == b'{"type": "a", "n": 0}'
    assert first.headers["traceparent"] == "00-abc"
    assert await count(get_dead_letters(QUEUE)) == len((await peek(get_dead_letters(QUEUE), 20)).letters) == 3


async def test_what_somebody_else_put_there_is_listed_with_what_is_known() -> None:
    broker.put(parked_name("q"), Message(b"\xff", "", {"dlq-attempts": "many", "dlq-exception-type": 7}))
    (letter,) = (await peek(get_dead_letters(QUEUE, Place.PARKED), 20)).letters
    assert (letter.place, letter.id, letter.reason, letter.attempts) == (Place.PARKED, "", "", None)
    assert (letter.error_type, letter.first_failed_at, letter.body) == ("", "", b"\xff")


@pytest.mark.parametrize(("limit", "sent"), [(None, 3), (2, 2), (0, 0), (7, 3)])
async def test_a_replay_sends_back_as_many_as_it_may_the_oldest_first_with_fresh_attempts(
    limit: int | None, sent: int
) -> None:
    assert await replay(get_dead_letters(QUEUE), get_processor(QUEUE), limit) == Replayed(Place.DLQ, sent)
    assert [message.message_id for message in broker.messages("q")] == [f"id-{number}" for number in range(sent)]
    assert broker.depth(dlq_name("q")) == 3 - sent
    assert all(message.headers == {"traceparent": "00-abc", "queue-moves": 2} for message in broker.messages("q"))


async def test_a_replay_that_the_broker_ends_says_how_far_it_came_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = BrokerUnavailableError("the broker went away")
    move = MemoryMessageHandler.move

    async def only_once(self: MemoryMessageHandler, delivery: Delivery, message: Message, *place: Any) -> None:
        if broker.depth("q"):
            raise away
        await move(self, delivery, message, *place)

    monkeypatch.setattr(MemoryMessageHandler, "move", only_once)
    assert await replay(get_dead_letters(QUEUE), get_processor(QUEUE)) == Replayed(Place.DLQ, 1, away)
    assert (broker.depth("q"), broker.depth(dlq_name("q"))) == (1, 2)


async def test_a_compressed_body_is_listed_and_sent_back_as_it_is_with_what_it_is_compressed_with() -> None:
    broker.clear()
    broker.put(dlq_name("q"), Message(b"\x1f\x8b", "by property", {"dlq-reason": "exhausted"}, None, "gzip"))
    broker.put(dlq_name("q"), Message(b"\x78\x9c", "by header", {"Content-Encoding": "deflate"}))
    letters = (await peek(get_dead_letters(QUEUE), 20)).letters
    found = [(letter.body, letter.content_encoding) for letter in letters]
    assert found == [(b"\x1f\x8b", "gzip"), (b"\x78\x9c", "deflate")]
    await replay(get_dead_letters(QUEUE), get_processor(QUEUE))
    first, second = sorted(broker.messages("q"), key=lambda message: message.body)
    assert (first.body, first.content_encoding, first.headers) == (b"\x1f\x8b", "gzip", {"queue-moves": 1})
    assert (second.body, second.headers["Content-Encoding"]) == (b"\x78\x9c", "deflate")
