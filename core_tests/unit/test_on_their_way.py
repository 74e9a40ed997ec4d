"""What was on its way to a consumer when it stopped receiving."""

from __future__ import annotations

import pytest

from app.queue.broker import on_their_way
from app.queue.broker.on_their_way import COME_WITHIN, OnTheirWay


class Clock:
    """It stands still."""

    now = 1000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(on_their_way, "now", lambda: clock.now)
    return clock


def test_as_many_as_were_on_their_way_may_come_again_and_no_more() -> None:
    expected = OnTheirWay()
    assert not expected.take()
    expected.expect(2)
    assert [expected.take() for _ in range(3)] == [True, True, False]


def test_what_comes_too_late_was_somebody_elses(clock: Clock) -> None:
    expected = OnTheirWay()
    expected.expect(2)
    clock.now += COME_WITHIN
    assert not expected.take()


@pytest.mark.parametrize(("first", "second", "count"), [(3, 0, 3), (1, 2, 2), (0, -1, 0)])
def test_what_a_second_stop_leaves_does_not_cut_short_what_the_first_one_left(
    first: int, second: int, count: int
) -> None:
    expected = OnTheirWay()
    expected.expect(first)
    expected.expect(second)
    assert sum(expected.take() for _ in range(9)) == count


def test_a_stop_does_not_revive_what_never_came(clock: Clock) -> None:
    expected = OnTheirWay()
    expected.expect(5)
    clock.now += COME_WITHIN
    expected.expect(1)
    assert [expected.take(), expected.take()] == [True, False]
