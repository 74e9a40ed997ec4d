"""Mutants of the core: each has one thing wrong, which its name says, and some seed must notice."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any
from unittest import mock

from app.queue import circuit_breaker, dead_letters, policy
from app.queue.broker import leases, processor, publisher
from app.queue.consume import (
    admission,
    attempt,
    deadlines,
    held,
    in_flight,
    pause,
    quarantine,
    redeliveries,
    settlement,
    worker,
)
from app.queue.errors import AckLostError, BrokerError, DeliveryLostError, PublishError
from app.queue.interfaces import Arrival, Place
from app.queue.messages.outcome import DONE, Action
from app.queue.run import supervisor

Wrong = tuple[Any, str, Any]
"""An object, its attribute, and what stands there instead."""


def around(owner: Any, name: str, function: Callable[..., Any]) -> Wrong:
    """A method that is given the original first, then what it is called with."""
    original = getattr(owner, name)

    def method(self: Any, *args: Any, **keys: Any) -> Any:
        return function(partial(original, self), self, *args, **keys)

    return owner, name, method


# --- what a mutant does instead


def nothing(*_: Any, **__: Any) -> None:
    """Nothing."""


async def nothing_later(*_: Any, **__: Any) -> None:
    """Nothing, awaited."""


async def acks_first(self: Any, delivery: Any, message: Any, place: Place, delay: float = 0.0) -> None:
    """A move that acks before it puts."""
    delivery.token.check()
    await self.ack(delivery)
    target = self.place(place, delay)
    await self.in_time(target, self._put(target, message, delivery, delay))


async def pass_acks_first(original: Any, self: Any, delivery: Any) -> Any:
    """A pass that acks before it moves."""
    await self._processor.ack(delivery)
    return await original(delivery)


async def as_ours(original: Any, self: Any, delivery: Any, *args: Any) -> Any:
    """A worker to which every redelivery is its own."""
    if delivery.arrival is Arrival.ABANDONED:
        delivery.arrival = Arrival.OURS
    return await original(delivery, *args)


async def drops_on_error(original: Any, self: Any, record: Any, outcome: Any) -> Any:
    """A settlement that tries once."""
    try:
        if outcome.action is Action.ACK:
            await self._processor.ack(record.delivery)
        else:
            await self._move(record.delivery, outcome)
    except (AckLostError, DeliveryLostError, BrokerError):
        return None


async def opens_once(original: Any, self: Any) -> None:
    """A supervisor that gives up after the first loss."""
    await self.until_it_works(self._link.open)
    self.detail = None
    await self._link.lost()
    await asyncio.Event().wait()


async def leaks_slots(original: Any, self: Any, record: Any) -> Any:
    """A worker that gives no slot back after a failure."""
    outcome = await original(record)
    if outcome is not None and outcome.error is not None:
        self._admission.slots._value -= 1
    return outcome


def counts(step: int) -> Callable[..., Any]:
    """A policy that counts a failed attempt so many times."""
    original = policy.decide

    def decide(error: BaseException, history: Any, *args: Any, **keys: Any) -> Any:
        return original(error, replace(history, attempts=max(0, history.attempts + step - 1)), *args, **keys)

    return decide


async def confirms_all(original: Any, self: Any, *args: Any) -> None:
    """A publisher to which what was sent is published."""
    with suppress(PublishError):
        await original(*args)


async def never_acks_done(original: Any, self: Any, record: Any, outcome: Any) -> Any:
    """A settlement that leaves what is done."""
    return None if outcome is DONE else await original(record, outcome)


async def requeues_retries(original: Any, self: Any, delivery: Any, outcome: Any) -> Any:
    """A settlement that sends a failed message to the tail of its queue, uncounted."""
    if outcome.action is Action.RETRY:
        outcome = replace(outcome, history=replace(outcome.history, attempts=0))
    await original(delivery, outcome)


async def forgets_to_put(original: Any, self: Any, target: str, putting: Any) -> None:
    """A move that puts nothing where no answer comes at once."""
    try:
        await original(target, putting)
    except PublishError:
        return


def uncounted(original: Any, history: Any, config: Any) -> Any:
    """A death that is not noted in the message."""
    return replace(original(history, config), history=history)


def counted_twice(original: Any, history: Any, config: Any) -> Any:
    """A death that counts as two."""
    return original(replace(history, crashes=history.crashes + 1), config)


def forgets_replays(original: Any, message: Any, history: Any) -> Any:
    """A message that comes back from the DLQ as if it never had."""
    return original(message, replace(history, replays=0))


async def done_if_cancelled(original: Any, self: Any, record: Any) -> Any:
    """An attempt to which a handler that is cut off has returned."""
    try:
        return await original(record)
    except asyncio.CancelledError:
        return DONE


async def gives_back_by_its_link(original: Any, self: Any, record: Any, error: Exception) -> None:
    """What can't be settled is given back by closing the link, and so is all else that is in flight."""
    self._intake._consumer.link.lose("it can't be settled")
    await original(record, error)


def instead(owner: Any, name: str, function: Callable[..., Any]) -> Wrong:
    """A function that is given the original first, then what it is called with."""
    return owner, name, partial(function, getattr(owner, name))


MUTANTS: dict[str, list[Wrong]] = {
    # what comes again
    "it forgets what it had in flight when its link was lost": [(redeliveries.Redeliveries, "lost", nothing)],
    "it recalls nothing of what comes again": [(redeliveries.Redeliveries, "recall", nothing)],
    "what runs is not known when it comes again": [
        (in_flight.InFlight, "lose", lambda self, link: []),
        (in_flight.InFlight, "twin", nothing),
    ],
    "every redelivery is its own": [around(worker.QueueWorker, "handle", as_ours)],
    "a lease is never prolonged": [(leases.Leases, "_keep", nothing_later)],
    "the supervisor gives up": [around(supervisor.Supervisor, "run", opens_once)],
    "what others took for a death is another message": [
        (in_flight, "comes_from", operator.eq),
        (redeliveries, "comes_from", operator.eq),
    ],
    "nothing is given back before its time is up": [(deadlines.Deadlines, "set", nothing)],
    "what can't be settled costs the link": [around(held.Held, "hold", gives_back_by_its_link)],
    # crashes
    "a death counts twice": [instead(worker, "decide_abandoned", counted_twice)],
    "crashes are counted and never too many": [(policy, "MAX_CRASHES", 1_000_000)],
    "the second crash is one too many": [(policy, "MAX_CRASHES", 2)],
    "a crash is not counted": [instead(worker, "decide_abandoned", uncounted)],
    "the quarantine is never looked into": [
        (worker.QueueWorker, "quarantine_filled", lambda self, _: asyncio.Event().wait())
    ],
    "what was in flight at one death waits for the next look": [
        (worker.QueueWorker, "quarantine_filled", lambda self, timeout: asyncio.sleep(timeout))
    ],
    "one death makes a suspect": [(policy, "SUSPECT_FROM", 1)],
    "suspects run all together": [(quarantine, "group_size", lambda crashes, most: most if crashes > 1 else None)],
    # settling
    "a move acks before it puts": [(processor.TwoStepProcessor, "move", acks_first)],
    "a move that was not confirmed counts as one": [around(processor.BrokerProcessor, "in_time", forgets_to_put)],
    "a settlement that fails is dropped": [around(settlement.Settlement, "settle", drops_on_error)],
    "what is done is not acked": [around(settlement.Settlement, "settle", never_acks_done)],
    "what is held is never tried again": [(held.Held, "wait", lambda self, tries: asyncio.Event().wait())],
    "nothing goes to the DLQ": [(settlement, "PLACES", {**settlement.PLACES, Action.DEAD_LETTER: Place.QUEUE})],
    "what is cut off is done": [around(attempt.Attempt, "run", done_if_cancelled)],
    # attempts, slots, pause
    "a retry has no attempts behind it": [around(settlement.Settlement, "_move", requeues_retries)],
    "a failure counts twice": [(attempt, "decide", counts(2))],
    "a failure does not count": [(attempt, "decide", counts(0))],
    "a slot is lost with each failure": [around(worker.QueueWorker, "_run", leaks_slots)],
    "in a pause all wait": [
        (admission.Admission, "_waits", lambda self, one: self._pause.active and not (one.probe or self.draining))
    ],
    "in a pause nothing is put aside": [(worker.QueueWorker, "_is_full", lambda self: False)],
    "a pause never ends": [(pause.Pause, "succeeded", lambda self: False)],
    # the dead-letter queue
    "a pass over the DLQ acks before it moves": [around(dead_letters.DeadLetterPasses, "_move", pass_acks_first)],
    "a pass parks all": [(dead_letters, "_may_succeed", lambda message: False)],
    "a pass sends all back": [(dead_letters, "_may_succeed", lambda message: True)],
    "a pass does not count": [instead(dead_letters, "with_history", forgets_replays)],
    # publishing
    "what is not confirmed is published": [around(publisher.GuardedPublisher, "_timed", confirms_all)],
    "an open circuit breaker stays open": [
        (circuit_breaker.QueueCircuitBreaker, "reset", nothing),
        (circuit_breaker.QueueCircuitBreaker, "retry_after", lambda self: 0.0 if self.state == "closed" else 1.0),
    ],
}


@contextmanager
def applied(name: str) -> Iterator[None]:
    """Inside, the core is this mutant."""
    with ExitStack() as stack:
        for owner, attribute, instead in MUTANTS[name]:
            stack.enter_context(mock.patch.object(owner, attribute, instead))
        yield
