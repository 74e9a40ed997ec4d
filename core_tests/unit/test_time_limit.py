"""A TimeLimit does for many tasks what asyncio.timeout() does for one."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.queue.time_limit import TimeLimit


async def inside(limit: TimeLimit, seconds: float) -> str:
    with limit:
        await asyncio.sleep(seconds)
    return "done"


async def test_only_those_that_take_too_long_are_cancelled_each_at_its_own_time() -> None:
    limit = TimeLimit(0.2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    first = asyncio.create_task(inside(limit, 60))
    quick = asyncio.create_task(inside(limit, 0.01))
    await asyncio.sleep(0.1)
    second = asyncio.create_task(inside(limit, 60))
    await asyncio.wait([first])
    assert not second.done()
    await asyncio.wait([second])
    assert await quick == "done"
    assert loop.time() - started >= 0.3
    for task in (first, second):
        with pytest.raises(TimeoutError):
            await task
        assert not task.cancelled()


async def test_the_time_begins_anew_for_whoever_comes_after_a_rest() -> None:
    limit = TimeLimit(0.1)
    assert await inside(limit, 0) == "done"
    await asyncio.sleep(0.15)
    assert await inside(limit, 0.02) == "done"
    with pytest.raises(TimeoutError):
        await inside(limit, 60)


async def test_a_cancellation_by_others_stays_one() -> None:
    task = asyncio.create_task(inside(TimeLimit(60), 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_by_others_counts_more_than_the_time() -> None:
    task = asyncio.create_task(inside(TimeLimit(0.01), 60))
    await asyncio.sleep(0)
    time.sleep(0.02)  # noqa: ASYNC251 - so that the time is up in the turn of the loop in which the others cancel, too
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


async def test_what_is_raised_inside_goes_through() -> None:
    with pytest.raises(ValueError, match="mine"), TimeLimit(60):
        raise ValueError("mine")


async def test_who_clears_up_after_the_time_is_left_to_do_so() -> None:
    async def stubborn(limit: TimeLimit) -> None:
        with limit:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)

    with pytest.raises(TimeoutError):
        await stubborn(TimeLimit(0.01))
