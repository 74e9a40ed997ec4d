"""The publisher with a link: it opens itself, makes a deleted queue anew, and says when the broker takes nothing."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.broker import linked_publisher
from app.queue.broker.linked_publisher import LinkedPublisher
from app.queue.errors import PublisherBlockedError, PublishError, UnroutableError
from app.queue.interfaces import Message
from core_tests.tools.fake_broker import FakeConnection, FakePool, fail_next, fake_config
from core_tests.tools.waiting import eventually


class FakePublisher(LinkedPublisher[FakeConnection]):
    """Puts, or fails with each of `errors`, or hangs where one is None."""

    pool = FakePool

    def __init__(self) -> None:
        super().__init__("q", fake_config())
        self.errors: list[Exception | None] = []
        self.steps: list[str] = []

    async def ensure(self) -> None:
        self.steps.append("ensure")
        if self.errors and isinstance(error := self.errors[0], RuntimeError):
            del self.errors[0]
            raise error

    async def put(self, queue: str, message: Message) -> None:
        assert message.message_id
        await fail_next(self.errors)
        self.steps.append(f"put {queue}")


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> FakePublisher:
    monkeypatch.setattr(FakePool, "made", [])
    return FakePublisher()


async def test_a_publisher_opens_sees_to_its_queue_and_closes_the_breaker(publisher: FakePublisher) -> None:
    assert publisher.state == "down"
    publisher.breaker._breaker.open()
    await publisher.open()
    await publisher.open()
    assert (publisher.state, publisher.breaker_state, publisher.steps) == ("ready", "closed", ["ensure"])
    publisher.link.connection.lose("gone")
    assert publisher.state == "down"
    assert await publisher.lost() == "gone"
    await publisher.publish_message("q", "{}")
    assert publisher.steps == ["ensure", "ensure", "put q"]
    await publisher.close()


async def test_a_publisher_that_can_not_see_to_its_queue_is_not_open(publisher: FakePublisher) -> None:
    publisher.errors = [RuntimeError("no")]
    with pytest.raises(RuntimeError):
        await publisher.open()
    assert publisher.state == "down"
    assert FakePool.made[0].closes == 1


@pytest.mark.parametrize("fault", [None, RuntimeError("no")])
async def test_who_can_not_see_to_the_queue_does_not_take_the_link_from_others(
    publisher: FakePublisher, fault: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensures: list[asyncio.Future[None]] = []

    async def ensure() -> None:
        ensures.append(asyncio.get_running_loop().create_future())
        await ensures[-1]

    monkeypatch.setattr(publisher, "ensure", ensure)
    first = asyncio.create_task(publisher.publish_message("q", "{}"))
    await eventually(lambda: len(ensures) == 1, "the first one is at it")
    if fault is None:
        await asyncio.sleep(0.1)  # its time is up before the second one's
    publisher.errors = [None]  # the second one hangs in sending
    second = asyncio.create_task(publisher.publish_message("q", "{}"))
    await eventually(lambda: len(ensures) == 2, "and the second")
    ensures[1].set_result(None)
    await asyncio.sleep(0.01)
    if fault is not None:
        ensures[0].set_exception(fault)
    with pytest.raises((PublishError, RuntimeError)):
        await first
    assert publisher.link.is_open
    second.cancel()
    await publisher.close()


async def test_a_deleted_queue_is_made_anew_if_it_is_the_publishers_own(publisher: FakePublisher) -> None:
    publisher.errors = [UnroutableError("none")]
    await publisher.publish_message("q", "{}")
    assert publisher.steps == ["ensure", "ensure", "put q"]
    publisher.errors = [UnroutableError("none")]
    with pytest.raises(UnroutableError):
        await publisher.publish_message("other", "{}")
    await publisher.close()


async def test_a_refusal_for_lack_of_room_counts_for_a_while_or_until_something_is_taken(
    publisher: FakePublisher,
) -> None:
    publisher.errors = [PublisherBlockedError("full")]
    with pytest.raises(PublisherBlockedError):
        await publisher.publish_message("q", "{}")
    assert publisher.state == "blocked"
    await publisher.publish_message("q", "{}")
    assert publisher.state != "blocked"
    await publisher.close()


async def test_a_refusal_for_lack_of_room_does_not_outlast_the_link(publisher: FakePublisher) -> None:
    publisher.errors = [PublisherBlockedError("full")]
    with pytest.raises(PublisherBlockedError):
        await publisher.publish_message("q", "{}")
    publisher.link.connection.lose("gone")
    await publisher.open()
    assert publisher.state == "ready"
    await publisher.close()


async def test_where_the_broker_says_that_it_is_blocked_nobody_waits_for_the_timeout(
    publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakePublisher, "blocked_for", 0.0)
    monkeypatch.setattr(linked_publisher, "LOOK_EVERY", 0.02)
    await publisher.open()
    publisher.errors = [None]
    began = asyncio.get_running_loop().time()
    publishing = asyncio.create_task(publisher.publish_message("q", "{}"))
    await asyncio.sleep(0.05)
    publisher.link.connection.blocked = True
    with pytest.raises(PublisherBlockedError) as caught:
        await publishing
    assert asyncio.get_running_loop().time() - began < 0.19
    assert caught.value.may_have_landed
    assert publisher.state == "blocked"
    publisher.link.connection.blocked = False
    assert publisher.state != "blocked"
    await publisher.close()
