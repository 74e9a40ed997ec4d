"""The variants: what is wrong with each is its name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from unittest import mock

from app.queue import setup
from app.queue.interfaces import DeadLetterQueueHandler, Provider, QueueConsumer
from app.queue.providers import find_provider
from core_tests.contract.broken import receiving, saying, settling
from core_tests.contract.broken.parts import WrappedHealthCheck, WrappedProcessor, WrappedPublisher

VARIABLE = "CONTRACT_VARIANT"
"""The environment variable that has a variant be in force in another process."""
Break = Callable[[Provider], Provider]


def with_consumer(wrapper: Callable[[QueueConsumer], QueueConsumer]) -> Break:
    """A provider with this around its consumer."""
    return lambda provider: dataclasses.replace(
        provider, consumer=lambda name, config, dispatcher: wrapper(provider.consumer(name, config, dispatcher))
    )


def with_processor(wrapper: type[WrappedProcessor]) -> Break:
    """A provider with this around what settles."""
    return lambda provider: dataclasses.replace(
        provider, processor=lambda name, config: wrapper(provider.processor(name, config))
    )


def with_publisher(wrapper: type[WrappedPublisher]) -> Break:
    """A provider with this around its publisher."""
    return lambda provider: dataclasses.replace(
        provider, publisher=lambda name, config, middleware: wrapper(provider.publisher(name, config, middleware))
    )


def with_reader(wrapper: Callable[[DeadLetterQueueHandler], DeadLetterQueueHandler]) -> Break:
    """A provider with this around its readers."""
    return lambda provider: dataclasses.replace(
        provider, dead_letters=lambda name, config, place: wrapper(provider.dead_letters(name, config, place))
    )


def with_health_check(wrapper: type[WrappedHealthCheck]) -> Break:
    """A provider with this around its health check."""
    return lambda provider: dataclasses.replace(
        provider, health_check=lambda name, config: wrapper(provider.health_check(name, config))
    )


def with_both(one: Break, other: Break) -> Break:
    """A provider that is broken twice."""
    return lambda provider: other(one(provider))


VARIANTS: dict[str, Break] = {
    "acks first, then puts": with_processor(settling.AcksFirst),
    "acks on receive": with_consumer(receiving.AcksOnReceive),
    "nothing comes again after a kill": with_consumer(receiving.ForgetsWhatTheDeadHad),
    "what comes again does not say so": with_consumer(receiving.NeverSaysAgain),
    "what is held keeps its room": with_consumer(receiving.MakesNoRoom),
    "the delay is lost": with_processor(settling.LosesTheDelay),
    "the delay is cut at a bound": with_processor(settling.CutsTheDelay),
    "the delay is kept in the service's own memory": with_processor(settling.KeepsTheDelayInMemory),
    "attempts are lost": with_processor(settling.loses("queue-attempts")),
    "queue-crashes is lost": with_processor(settling.loses("queue-crashes")),
    "queue-first-failed-at is lost": with_processor(settling.loses("queue-first-failed-at")),
    "queue-replays is lost on the way out of a place": with_reader(settling.forgets("queue-replays")),
    "a foreign header is lost": with_processor(settling.loses("traceparent")),
    "a lease is never prolonged": with_consumer(receiving.NeverProlongs),
    "a lease in another place is never prolonged": with_reader(receiving.NeverProlongsInAPlace),
    "health is always green": with_health_check(saying.AlwaysGreen),
    "the probe swallows its timeout": with_health_check(saying.SwallowsTheTimeout),
    "the probe waits for ever": with_health_check(saying.WaitsForEver),
    "the consumer is always registered": with_consumer(saying.AlwaysRegistered),
    "the publisher is always ready": with_publisher(saying.AlwaysReady),
    "what may have landed is said to be surely not sent": with_publisher(saying.SurelyNotSent),
    "what may have landed is sent again": with_publisher(saying.SendsAgain),
    "nothing is too large": saying.without_size_check,
    "what is too large to be moved is dropped": with_processor(settling.DropsWhatIsTooLarge),
    "an ack is one of all before it": with_both(
        with_consumer(settling.NotesUnsettled), with_processor(settling.AcksAllBefore)
    ),
    "a second ack is one of another message": with_both(
        with_consumer(settling.NotesUnsettled), with_processor(settling.AcksAnotherInstead)
    ),
    "an ack returns before the broker has it": with_processor(settling.AcksLater),
}

_in_force: ContextVar[str | None] = ContextVar("in_force", default=None)


def variant_in_force() -> str | None:
    """The name of the variant that this task is in, if it is in one."""
    return _in_force.get()


def _find(kind: str, where: str = "queues.yaml") -> Provider:
    provider = find_provider(kind, where)
    name = variant_in_force()
    return provider if name is None else VARIANTS[name](provider)


def breakable() -> AbstractContextManager[object]:
    """Inside, `setup.get_*` make the parts of whatever variant is in force where they are called."""
    return mock.patch.object(setup, "find_provider", _find)


@contextmanager
def applied(name: str) -> Iterator[None]:
    """Inside, this variant is in force, in this task and in those that it begins. Others may have others."""
    token = _in_force.set(name)
    try:
        yield
    finally:
        _in_force.reset(token)
