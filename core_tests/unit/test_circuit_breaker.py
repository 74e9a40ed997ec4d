"""The circuit breaker around publishing."""

from __future__ import annotations

import asyncio

import pytest

from app.queue.circuit_breaker import QueueCircuitBreaker
from app.queue.config import CircuitBreakerConfig
from app.queue.errors import BrokerUnavailableError, CircuitOpenError, MessageTooLargeError, UnroutableError
from core_tests.tools.waiting import eventually

DOWN = BrokerUnavailableError("down")


class Broker:
    """Counts its calls. Raises `error`, if there is one, when `gate` is open."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self) -> str:
        self.calls += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return "done"


def breaker_of(fail_max: int = 3, reset_timeout: float = 0.05) -> QueueCircuitBreaker:
    return QueueCircuitBreaker(CircuitBreakerConfig(fail_max=fail_max, reset_timeout=reset_timeout), "publisher of 'q'")


def state(breaker: QueueCircuitBreaker) -> str:
    return breaker.state


async def fail(breaker: QueueCircuitBreaker, broker: Broker, times: int, error: Exception = DOWN) -> None:
    broker.error = error
    for _ in range(times):
        with pytest.raises(type(error)):
            await breaker.call(broker.publish)
    broker.error = None


async def opened(reset_timeout: float = 0.05) -> tuple[QueueCircuitBreaker, Broker]:
    breaker, broker = breaker_of(reset_timeout=reset_timeout), Broker()
    await fail(breaker, broker, 3)
    assert state(breaker) == "open"
    broker.calls = 0
    return breaker, broker


async def due(breaker: QueueCircuitBreaker) -> None:
    await eventually(lambda: breaker.retry_after() == 0, "a probe is due")


async def begun(task: asyncio.Task[str], broker: Broker) -> None:
    await eventually(lambda: broker.calls > 0 or task.done(), "the probe runs")
    assert not task.done()


async def test_a_call_returns_what_the_function_returns() -> None:
    async def add(a: int, b: int) -> int:
        return a + b

    assert await breaker_of().call(add, 1, 2) == 3


async def test_it_opens_after_fail_max_failures_in_a_row() -> None:
    breaker, broker = breaker_of(), Broker()
    await fail(breaker, broker, 2)
    assert state(breaker) == "closed"
    assert breaker.retry_after() == 0
    await fail(breaker, broker, 1)
    assert state(breaker) == "open"


async def test_a_success_ends_a_row_of_failures() -> None:
    breaker, broker = breaker_of(), Broker()
    await fail(breaker, broker, 2)
    await breaker.call(broker.publish)
    await fail(breaker, broker, 2)
    assert state(breaker) == "closed"


async def test_an_open_breaker_fails_at_once_and_says_who_and_when_to_come_back() -> None:
    breaker, broker = await opened(reset_timeout=60)
    with pytest.raises(CircuitOpenError, match="publisher of 'q': the circuit breaker is open") as caught:
        await breaker.call(broker.publish)
    assert broker.calls == 0
    assert 0 < caught.value.retry_after <= 60
    assert 0 < breaker.retry_after() <= 60
    assert not caught.value.may_have_landed


async def test_calling_an_open_breaker_does_not_keep_it_open() -> None:
    breaker, broker = await opened()

    async def closed() -> bool:
        try:
            await breaker.call(broker.publish)
        except CircuitOpenError:
            return False
        return True

    await eventually(closed, "one call is let through")
    assert state(breaker) == "closed"


async def test_a_half_open_breaker_lets_one_of_many_callers_through_and_its_success_closes_it() -> None:
    breaker, broker = await opened()
    await due(breaker)
    broker.gate.clear()
    probe = asyncio.create_task(breaker.call(broker.publish))
    await begun(probe, broker)
    assert state(breaker) == "half-open"
    others = await asyncio.gather(*(breaker.call(broker.publish) for _ in range(20)), return_exceptions=True)
    assert {type(other) for other in others} == {CircuitOpenError}
    assert all(isinstance(other, CircuitOpenError) and other.retry_after > 0 for other in others)
    assert broker.calls == 1
    broker.gate.set()
    assert await probe == "done"
    assert state(breaker) == "closed"
    assert await asyncio.gather(*(breaker.call(broker.publish) for _ in range(20))) == ["done"] * 20


async def test_of_many_callers_at_the_same_moment_one_is_the_probe() -> None:
    breaker, broker = await opened()
    await due(breaker)
    broker.gate.clear()
    callers = [asyncio.create_task(breaker.call(broker.publish)) for _ in range(20)]
    await eventually(lambda: sum(caller.done() for caller in callers) == 19, "all but one have their answer")
    broker.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert results.count("done") == broker.calls == 1


async def test_a_probe_that_fails_opens_it_for_another_while() -> None:
    breaker, broker = await opened()
    await due(breaker)
    await fail(breaker, broker, 1)
    assert state(breaker) == "open"
    with pytest.raises(CircuitOpenError):
        await breaker.call(broker.publish)
    assert broker.calls == 1
    await due(breaker)
    assert await breaker.call(broker.publish) == "done"


async def test_a_cancelled_probe_does_not_close_it_and_the_next_probe_may() -> None:
    breaker, broker = await opened()
    await due(breaker)
    broker.gate.clear()
    probe = asyncio.create_task(breaker.call(broker.publish))
    await begun(probe, broker)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert state(breaker) == "half-open"
    broker.gate.set()
    assert await breaker.call(broker.publish) == "done"
    assert state(breaker) == "closed"


async def test_a_cancelled_probe_leaves_a_breaker_alone_that_a_reconnect_closed_meanwhile() -> None:
    breaker, broker = await opened()
    await due(breaker)
    broker.gate.clear()
    probe = asyncio.create_task(breaker.call(broker.publish))
    await begun(probe, broker)
    breaker.reset()
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert state(breaker) == "closed"


async def cancelled_call(breaker: QueueCircuitBreaker) -> None:
    broker = Broker()
    broker.gate.clear()
    task = asyncio.create_task(breaker.call(broker.publish))
    await begun(task, broker)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_call_is_no_failure() -> None:
    breaker = breaker_of()
    for _ in range(5):
        await cancelled_call(breaker)
    assert state(breaker) == "closed"


async def test_a_cancelled_call_is_no_success() -> None:
    breaker, broker = breaker_of(), Broker()
    await fail(breaker, broker, 2)
    await cancelled_call(breaker)
    await fail(breaker, broker, 1)
    assert state(breaker) == "open"


@pytest.mark.parametrize("error", [UnroutableError("no such queue"), MessageTooLargeError("too large")])
async def test_what_says_nothing_against_the_broker_does_not_count(error: Exception) -> None:
    breaker, broker = breaker_of(), Broker()
    await fail(breaker, broker, 10, error)
    assert state(breaker) == "closed"


async def test_a_probe_that_the_broker_answers_with_an_excluded_error_closes_it() -> None:
    breaker, broker = await opened()
    await due(breaker)
    await fail(breaker, broker, 1, UnroutableError("no such queue"))
    assert state(breaker) == "closed"


async def test_reset_closes_an_open_breaker_and_forgets_the_failures() -> None:
    breaker, broker = await opened(reset_timeout=60)
    breaker.reset()
    assert state(breaker) == "closed"
    assert breaker.retry_after() == 0
    assert await breaker.call(broker.publish) == "done"
    await fail(breaker, broker, 2)
    assert state(breaker) == "closed"


async def test_reset_of_a_closed_breaker_does_not_forget_the_failures_so_far() -> None:
    breaker, broker = breaker_of(), Broker()
    await fail(breaker, broker, 2)
    breaker.reset()
    await fail(breaker, broker, 1)
    assert state(breaker) == "open"


async def test_reset_during_a_probe_lets_everybody_through() -> None:
    breaker, broker = await opened()
    await due(breaker)
    broker.gate.clear()
    probe = asyncio.create_task(breaker.call(broker.publish))
    await begun(probe, broker)
    breaker.reset()
    other = asyncio.create_task(breaker.call(broker.publish))
    await eventually(lambda: broker.calls == 2, "another call is under way")
    broker.gate.set()
    assert list(await asyncio.gather(probe, other)) == ["done"] * 2
