"""What a publisher says when it did not work: surely not sent, or perhaps there; and what it never sends at all."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.errors import MessageTooLargeError, PublishError
from core_tests.contract.subject import BODY, QUIET, Subject

BREAKER = {"fail_max": 100}


async def landed(subject: Subject) -> list[str]:
    """The ids of all that is in the queue."""
    async with subject.inbox(prefetch=100) as inbox:
        await inbox.is_quiet(QUIET)
        for delivery in inbox.deliveries:
            await inbox.processor.ack(delivery)
    return inbox.ids


@pytest.mark.parametrize("what", ["the link breaks", "the broker says nothing"])
async def test_what_was_sent_and_not_confirmed_may_have_landed_and_is_not_sent_again(
    subject: Subject, what: str
) -> None:
    await subject.declare()
    async with (
        subject.behind_proxy() as (proxy, keys),
        subject.publisher(**keys, circuit_breaker=BREAKER, publish_timeout=2) as publisher,
    ):
        first = await publisher.publish_message(subject.name, BODY)
        proxy.mode("mute")
        # A body of its own each, so that nothing takes the one for the other.
        publishing = asyncio.create_task(
            publisher.publish_message(subject.name, {**BODY, "n": 2}, message_id=f"{subject.name}-2")
        )
        await asyncio.sleep(0.5)
        if what == "the link breaks":
            proxy.drop()
        await asyncio.wait([publishing], timeout=20)
        assert publishing.done(), "publishing without a confirm never ends"
        error = publishing.exception()
        assert isinstance(error, PublishError), f"it was not confirmed, and publishing gives {error!r}"
        assert error.may_have_landed, f"it may have landed, and the error says that it surely did not: {error}"
        assert error.message_id == f"{subject.name}-2"
    ids = await landed(subject)
    assert ids.count(first) == 1
    assert ids.count(f"{subject.name}-2") == 1, "it landed, and was sent again without being asked"


async def test_what_can_not_be_sent_surely_did_not_land(subject: Subject) -> None:
    await subject.declare()
    async with (
        subject.behind_proxy() as (proxy, keys),
        subject.publisher(**keys, circuit_breaker=BREAKER) as publisher,
    ):
        proxy.mode("refuse")
        with pytest.raises(PublishError) as failed:
            await publisher.publish_message(subject.name, BODY)
        assert not failed.value.may_have_landed
        assert failed.value.message_id
        proxy.mode("pass")
        (name,) = [await publisher.publish_message(subject.name, BODY)]
    assert await landed(subject) == [name]


async def test_a_message_that_is_too_large_is_not_sent(subject: Subject) -> None:
    async with subject.publisher(max_message_bytes=1000) as publisher:
        with pytest.raises(MessageTooLargeError) as failed:
            await publisher.publish_message(subject.name, b"x" * 1001)
        assert not failed.value.may_have_landed
        name = await publisher.publish_message(subject.name, b"x" * 1000)
    assert await landed(subject) == [name]
