"""What can't be settled for now makes room for others, and can still be settled when its time has come."""

from __future__ import annotations

from core_tests.contract.subject import QUIET, Subject

PREFETCH = 4


async def test_what_is_held_makes_room_for_others_and_is_settled_later(subject: Subject) -> None:
    await subject.publish(4 * PREFETCH)
    async with subject.inbox(prefetch=PREFETCH, concurrency=1) as inbox:
        held = (await inbox.has(PREFETCH))[:PREFETCH]
        await inbox.is_quiet(QUIET)
        assert len(inbox.deliveries) == PREFETCH
        await inbox.consumer.make_room(PREFETCH)
        others = (await inbox.has(2 * PREFETCH))[PREFETCH:]
        await inbox.is_quiet(QUIET)
        assert len(inbox.deliveries) == 2 * PREFETCH, "and no more than that"
        assert inbox.consumer.registered
        for delivery in others:
            await inbox.processor.ack(delivery)
        more = (await inbox.has(3 * PREFETCH))[2 * PREFETCH : 3 * PREFETCH]
        for delivery in [*held, *more]:
            await inbox.processor.ack(delivery)
        await inbox.consumer.make_room(0)
        for delivery in (await inbox.has(4 * PREFETCH))[3 * PREFETCH :]:
            await inbox.processor.ack(delivery)
    async with subject.inbox() as again:
        await again.is_quiet(subject.candidate.lease + QUIET)
    assert again.ids == []
    assert len(set(inbox.ids)) == len(inbox.ids), "none came twice"
