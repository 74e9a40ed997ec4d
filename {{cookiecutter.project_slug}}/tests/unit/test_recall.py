"""What a process remembers of deliveries whose link broke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.queue.headers import History
from app.queue.interfaces import Delivery, Message
from app.queue.policy import DONE, Action, Outcome
from app.queue.recall import Recall


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.Event]:
    """Tasks made by `running()` end when this is set."""
    event = asyncio.Event()
    yield event
    event.set()


def running(event: asyncio.Event) -> asyncio.Task[Outcome | None]:
    async def handle() -> Outcome | None:
        await event.wait()
        return DONE

    return asyncio.create_task(handle())


def delivery(message_id: str = "id", body: bytes = b"{}") -> Delivery:
    return Delivery("q", Message(body, message_id or "made up"), identity=message_id)


async def test_a_remembered_message_is_claimed_once(tasks: asyncio.Event) -> None:
    recall, task = Recall(1), running(tasks)
    recall.lost({delivery(): task})
    again = Delivery("q", Message(b"{}", "id", {"new": "headers"}), redelivered=True, identity="id")
    assert recall.claim(again) is task
    assert recall.claim(again) is None


@pytest.mark.parametrize("other", [delivery("other"), delivery("id", b"other")])
async def test_another_id_or_another_body_is_another_message(tasks: asyncio.Event, other: Delivery) -> None:
    recall = Recall(1)
    recall.lost({delivery(): running(tasks)})
    assert recall.claim(other) is None


async def test_a_message_that_came_without_an_id_is_known_by_its_body(tasks: asyncio.Event) -> None:
    recall, task = Recall(1), running(tasks)
    recall.lost({delivery(""): task})
    assert recall.claim(Delivery("q", Message(b"{}", "made up anew"), redelivered=True)) is task


async def test_what_was_settled_last_is_done_should_its_ack_be_lost_with_the_link() -> None:
    recall = Recall(2)
    recall.settled(delivery("a"))
    recall.lost({})
    assert (found := recall.claim(delivery("a"))) is not None
    assert found.result() is DONE


async def test_a_settled_message_without_an_id_says_nothing_of_an_equal_one() -> None:
    recall = Recall(2)
    recall.settled(delivery(""))
    recall.lost({})
    assert (found := recall.claim(delivery(""))) is not None
    assert found.result() is None, "it is run"


def tried(attempts: int) -> Delivery:
    return Delivery("q", Message(b"{}", "id", {"queue-attempts": attempts}), identity="id")


async def test_a_try_that_is_settled_says_nothing_of_the_next(tasks: asyncio.Event) -> None:
    recall, task = Recall(2), running(tasks)
    recall.settled(tried(1))  # handed over for a retry, and its ack arrived
    recall.lost({})
    recall.lost({tried(2): task})
    assert recall.claim(tried(2)) is task


async def test_what_is_on_its_way_again_as_it_was_is_not_done() -> None:
    recall = Recall(2)
    recall.settled(tried(1))
    recall.lost({})
    recall.settled(tried(1))
    recall.alive(tried(2), History(attempts=1))
    recall.lost({})
    assert [(found := recall.claim(tried(1))) is not None and found.result() for _ in range(2)] == [None, None]


async def test_of_the_same_message_the_latest_counts(tasks: asyncio.Event) -> None:
    recall, task = Recall(2), running(tasks)
    recall.settled(delivery())
    recall.lost({})
    recall.lost({delivery(): task})
    assert recall.claim(delivery()) is task


async def test_as_many_as_may_have_been_on_their_way_to_us_are_not_suspected(tasks: asyncio.Event) -> None:
    recall = Recall(3)
    recall.lost({delivery("in hand"): running(tasks)})
    assert [(found := recall.claim(delivery(name))) is not None and found.result() for name in "abc"] == [
        None,
        None,
        False,
    ]


async def test_a_message_that_is_suspected_already_is_never_expected() -> None:
    recall = Recall(3)
    recall.lost({})
    suspect = Delivery("q", Message(b"{}", "id", {"queue-crashes": 1}), redelivered=True, identity="id")
    assert recall.claim(suspect) is None


async def test_before_any_loss_a_redelivered_message_is_anothers() -> None:
    assert Recall(3).claim(delivery()) is None


async def test_two_equal_messages_are_remembered_as_two(tasks: asyncio.Event) -> None:
    recall, first, second = Recall(2), running(tasks), running(tasks)
    recall.lost({delivery(): first, delivery(): second})
    assert {recall.claim(delivery()), recall.claim(delivery())} == {first, second}


async def test_only_what_still_runs_is_running(tasks: asyncio.Event) -> None:
    recall, done, task = Recall(1), running(tasks), running(asyncio.Event())
    tasks.set()
    await done
    recall.unsettled(delivery("done"), done)
    recall.unsettled(delivery("task"), task)
    assert set(recall.running()) == {task}
    assert recall.claim(delivery("done")) is done
    task.cancel()


async def test_the_oldest_are_forgotten_beyond_four_times_the_prefetch(tasks: asyncio.Event) -> None:
    recall = Recall(2)
    for number in range(10):
        recall.unsettled(delivery(f"{number}"), running(tasks))
    known = [number for number in range(10) if recall.claim(delivery(f"{number}")) is not None]
    assert known == [2, 3, 4, 5, 6, 7, 8, 9]


async def test_what_a_middleware_called_done_is_done_too() -> None:
    recall = Recall(1)
    done: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
    done.set_result(Outcome(Action.ACK, History()))
    recall.unsettled(delivery(), done)
    recall.alive(delivery(), History())
    assert recall.claim(Delivery("q", Message(b"{}", "id"), redelivered=True, identity="id")) is None
