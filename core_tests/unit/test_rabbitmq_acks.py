"""Which acks are sent when, under any interleaving of handlers, and never for what is unfinished."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aiormq.exceptions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.queue.broker.ack_window import BATCH_DELAY, STALL_DELAY, Ack, AckWindow
from app.queue.providers.rabbitmq.deliveries import Acks
from core_tests.tools.waiting import eventually

BUSY = 10
"""Others in flight: as many as there are slots, so that none is free."""


@dataclass
class Broker:
    """What RabbitMQ knows of a channel: it closes the channel on an ack of anything that is not outstanding."""

    outstanding: set[int] = field(default_factory=set)
    acked: set[int] = field(default_factory=set)
    frames: int = 0

    def take(self, ack: Ack) -> None:
        assert ack.tag in self.outstanding, f"PRECONDITION_FAILED: unknown delivery tag {ack.tag}"
        covered = {tag for tag in self.outstanding if tag <= ack.tag} if ack.multiple else {ack.tag}
        self.outstanding -= covered
        self.acked |= covered
        self.frames += 1


def send_due(window: AckWindow, broker: Broker, now: float, *, everything: bool = False) -> None:
    while (ack := window.take(now, everything=everything)) is not None:
        broker.take(ack)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine
@given(data=st.data(), prefetch=st.integers(1, 30), concurrency=st.integers(1, 30))
def test_under_any_interleaving_just_the_finished_are_acked_and_in_time(
    data: st.DataObject, prefetch: int, concurrency: int
) -> None:
    window, broker = AckWindow(prefetch, concurrency), Broker()
    running: list[int] = []
    finished_at: dict[int, float] = {}
    now, tag = 0.0, 0
    for _ in range(data.draw(st.integers(1, 60))):
        while len(broker.outstanding) < prefetch:
            tag += 1
            running.append(tag)
            broker.outstanding.add(tag)
        if running:
            done = running.pop(data.draw(st.integers(0, len(running) - 1)))
            finished_at[done] = now
            if window.finish(done, now, len(running)):
                send_due(window, broker, now)
        if data.draw(st.booleans()):
            now += data.draw(st.sampled_from([BATCH_DELAY / 2, BATCH_DELAY, STALL_DELAY, 1.0]))
            send_due(window, broker, now)
        assert broker.acked <= finished_at.keys()
        waiting = finished_at.keys() - broker.acked
        assert all(now - finished_at[late] < STALL_DELAY for late in waiting)
        assert len(waiting) < max(1, prefetch // 4) + max(1, prefetch // 2), "the window fills up with finished ones"
        full = len(running) + len(waiting) >= prefetch
        assert not (full and waiting and len(running) < concurrency), "a slot waits for an ack that waits for others"
        due = window.next_due()
        assert (due is None) == (not waiting)
        assert due is None or due > now
    send_due(window, broker, now, everything=True)
    assert broker.acked == finished_at.keys()


def test_with_the_whole_window_out_and_a_slot_free_nothing_waits_for_others() -> None:
    window = AckWindow(100, 100)
    assert window.finish(3, 0.0, 99)
    assert window.finish(1, 0.0, 98)
    assert (window.take(0.0), window.take(0.0)) == (Ack(1, multiple=False), Ack(3, multiple=False))
    assert window.take(0.0) is None
    assert not window.finish(2, 0.0, 50), "the broker has room for others"
    assert window.take(0.0) is None


def test_a_hundred_in_order_take_one_frame_for_each_quarter_of_the_window() -> None:
    window, broker = AckWindow(20, 10), Broker(set(range(1, 101)))
    for tag in range(1, 101):
        if window.finish(tag, 0.0, BUSY):
            send_due(window, broker, 0.0)
    assert (len(broker.acked), broker.frames) == (100, 20)


def test_a_slow_one_at_the_head_holds_nothing_up() -> None:
    window, broker = AckWindow(10, 10), Broker()
    broker.outstanding.update(range(1, 11))
    for tag in range(2, 11):
        if window.finish(tag, 0.0, BUSY):
            send_due(window, broker, 0.0)
    send_due(window, broker, STALL_DELAY)
    assert broker.outstanding == {1}
    window.finish(1, 1.0, BUSY)
    send_due(window, broker, 1.0, everything=True)
    assert not broker.outstanding


def test_what_is_acked_behind_a_slow_one_is_not_remembered() -> None:
    window = AckWindow(10, 10)
    for tag in range(2, 10_000):
        window.finish(tag, 0.0, BUSY)
        while window.take(STALL_DELAY) is not None:
            pass
    sizes = [len(value) for value in vars(window).values() if isinstance(value, dict | set)]
    assert sum(sizes) == 1, "the one that is unfinished"
    assert window.finish(1, 1.0, BUSY) is False
    assert window.take(2.0) == Ack(1, multiple=False)


def test_a_delivery_that_never_came_is_not_acked_with_its_neighbours() -> None:
    window, broker = AckWindow(8, 8), Broker(set(range(1, 9)))
    for tag in (1, 2, 4, 5, 6, 7, 8):
        window.finish(tag, 0.0, BUSY)
    send_due(window, broker, 0.0, everything=True)
    assert broker.outstanding == {3}


def test_finishing_twice_acks_once() -> None:
    window, broker = AckWindow(20, 10), Broker({1, 2, 3})
    for tag in (1, 1, 3, 3):
        window.finish(tag, 0.0, BUSY)
    send_due(window, broker, 0.0, everything=True)
    for tag in (1, 3):
        window.finish(tag, 0.0, BUSY)
    send_due(window, broker, 0.0, everything=True)
    assert broker.acked == {1, 3}


class SlowChannel:
    """A channel whose frames wait until `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.broker = Broker(set(range(1, 101)))
        self.is_closed = False
        self.error: Exception | None = None

    async def basic_ack(self, tag: int, multiple: bool, wait: bool) -> None:
        assert not wait
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.broker.take(Ack(tag, multiple))


async def test_frames_that_wait_for_a_frozen_link_neither_overtake_each_other_nor_get_lost() -> None:
    channel = SlowChannel()
    acks = Acks(channel, 20, 10)  # type: ignore[arg-type]
    for tag in range(1, 101):
        acks.ack(tag, BUSY)
        if tag % 10 == 0:
            await asyncio.sleep(0)
    assert not channel.broker.acked
    channel.gate.set()
    await eventually(lambda: not channel.broker.outstanding, "all are acked")


async def test_a_flush_that_a_frozen_link_outlasts_loses_no_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.queue.broker.acks.FLUSH_TIMEOUT", 0.05)
    channel = SlowChannel()
    acks = Acks(channel, 20, 10)  # type: ignore[arg-type]
    acks.ack(1, BUSY)
    acks.ack(2, BUSY)
    await acks.flush()
    assert not channel.broker.acked
    channel.gate.set()
    await eventually(lambda: channel.broker.acked == {1, 2}, "both are acked")


async def test_a_single_ack_goes_out_without_more_to_come() -> None:
    channel = SlowChannel()
    channel.gate.set()
    acks = Acks(channel, 20, 10)  # type: ignore[arg-type]
    acks.ack(1, BUSY)
    acks.ack(5, BUSY)
    await eventually(lambda: channel.broker.acked == {1, 5}, "both are acked")


async def test_a_batch_is_not_held_up_by_what_may_wait_longer() -> None:
    channel = SlowChannel()
    channel.gate.set()
    acks = Acks(channel, 20, 10)  # type: ignore[arg-type]
    acks.ack(2, BUSY)
    acks.ack(1, BUSY)
    assert acks._timer is not None
    assert acks._timer.when() - asyncio.get_running_loop().time() <= BATCH_DELAY
    await eventually(lambda: channel.broker.acked == {1, 2}, "both are acked")


async def test_a_closed_one_sends_nothing_more_on_a_channel_that_is_still_open() -> None:
    channel = SlowChannel()
    acks = Acks(channel, 20, 10)  # type: ignore[arg-type]
    acks.ack(1, BUSY)
    await asyncio.sleep(2 * BATCH_DELAY)
    acks.close()
    channel.gate.set()
    await asyncio.sleep(2 * STALL_DELAY)
    assert not channel.broker.acked
    assert acks._sending is None
    assert acks._timer is None


async def test_a_lost_channel_ends_the_acks_in_silence() -> None:
    channel = SlowChannel()
    channel.gate.set()
    channel.is_closed, channel.error = True, aiormq.exceptions.ChannelInvalidStateError("closed")
    acks = Acks(channel, 20, 10)  # type: ignore[arg-type]
    acks.ack(1, BUSY)
    await acks.flush()
    acks.close()
    assert not channel.broker.acked
