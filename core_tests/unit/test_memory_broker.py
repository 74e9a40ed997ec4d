"""The queues of the embedded provider."""

from __future__ import annotations

import threading

from app.queue.interfaces import Arrival, Message
from app.queue.providers.memory.broker import MemoryBroker
from core_tests.tools.waiting import eventually


def message(name: str) -> Message:
    return Message(b"{}", name)


def taken(broker: MemoryBroker, queue: str = "q") -> str | None:
    found = broker.take(queue, "me")
    return found[0].message_id if found else None


def test_messages_come_out_in_the_order_they_went_in_each_once() -> None:
    broker = MemoryBroker()
    for name in "abc":
        broker.put("q", message(name))
    assert [taken(broker) for _ in range(4)] == ["a", "b", "c", None]


def test_queues_do_not_share_messages() -> None:
    broker = MemoryBroker()
    broker.put("q", message("a"))
    assert taken(broker, "other") is None
    assert broker.depth("other") == 0
    assert broker.depth("q") == 1


def test_what_is_put_back_is_the_next_to_be_taken_and_says_who_had_it() -> None:
    broker = MemoryBroker()
    broker.put("q", message("a"))
    broker.put("q", message("b"))
    assert broker.take("q", "me") == (message("a"), Arrival.NEW)
    broker.put("q", message("a"), holder="me")
    assert broker.take("q", "me") == (message("a"), Arrival.OURS)
    broker.put("q", message("a"), holder="another")
    assert broker.take("q", "me") == (message("a"), Arrival.ABANDONED)
    assert broker.take("q", "me") == (message("b"), Arrival.NEW)


async def test_a_delayed_message_is_taken_when_it_is_due_and_no_sooner() -> None:
    broker = MemoryBroker()
    broker.put("q", message("late"), delay=3600)
    broker.put("q", message("soon"), delay=0.01)
    due = broker.next_due("q")
    assert due is not None
    assert due <= 0.01
    await eventually(lambda: taken(broker) == "soon", "the first is due")
    assert taken(broker) is None
    assert broker.next_due("q") is not None


def test_depth_counts_what_is_delayed_and_not_what_is_taken() -> None:
    broker = MemoryBroker()
    assert broker.depth("q") == 0
    broker.put("q", message("a"))
    broker.put("q", message("b"), delay=3600)
    assert broker.depth("q") == 2
    assert [found.message_id for found in broker.messages("q")] == ["a"]
    broker.take("q", "me")
    assert broker.depth("q") == 1


def test_a_queue_without_delayed_messages_has_nothing_due() -> None:
    broker = MemoryBroker()
    broker.put("q", message("a"))
    assert broker.next_due("q") is None


def test_a_watcher_is_woken_by_all_that_is_added_until_it_unwatches() -> None:
    broker, woken = MemoryBroker(), []
    unwatch = broker.watch("q", lambda: woken.append(1))
    broker.put("other", message("a"))
    assert woken == []
    broker.put("q", message("a"))
    broker.put("q", message("b"), delay=3600)
    broker.put("q", message("c"), holder="another")
    assert len(woken) == 3
    unwatch()
    unwatch()
    broker.put("q", message("d"))
    assert len(woken) == 3


def test_a_watcher_may_take_what_it_is_woken_for() -> None:
    broker = MemoryBroker()
    got: list[str | None] = []
    broker.watch("q", lambda: got.append(taken(broker)))
    broker.put("q", message("a"))
    assert got == ["a"]


def test_clear_forgets_the_messages_and_keeps_the_watchers() -> None:
    broker, woken = MemoryBroker(), []
    broker.watch("q", lambda: woken.append(1))
    broker.put("q", message("a"))
    broker.put("q", message("b"), delay=3600)
    broker.clear()
    assert broker.depth("q") == 0
    broker.put("q", message("c"))
    assert len(woken) == 3


def test_of_many_threads_each_message_reaches_exactly_one() -> None:
    broker = MemoryBroker()
    count, each = 4, 500
    got: list[list[str]] = [[] for _ in range(count)]

    def work(number: int) -> None:
        for index in range(each):
            broker.put("q", message(f"{number}-{index}"))
            if (name := taken(broker)) is not None:
                got[number].append(name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [name for names in got for name in names]
    while (name := taken(broker)) is not None:
        names.append(name)
    assert sorted(names) == sorted(f"{number}-{index}" for number in range(count) for index in range(each))
