"""What doesn't say the truth: of the link, of what was published, of a message's size."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from app.queue.errors import BrokerError, PublishError
from app.queue.interfaces import Body, Provider, PublisherState, QueuePublisher
from core_tests.contract.broken.parts import WrappedConsumer, WrappedHealthCheck, WrappedPublisher


class AlwaysRegistered(WrappedConsumer):
    """The consumer says that it is well, whatever the broker does."""

    @property
    def registered(self) -> bool:
        return True


class AlwaysReady(WrappedPublisher):
    """The same, of a publisher."""

    @property
    def state(self) -> PublisherState:
        return "ready"


class AlwaysGreen(WrappedHealthCheck):
    """Asks nobody."""

    async def probe(self) -> None:
        """Nothing."""


class SwallowsTheTimeout(WrappedHealthCheck):
    """A broker that is frozen is green."""

    async def probe(self) -> None:
        with suppress(BrokerError):
            await super().probe()


class WaitsForEver(WrappedHealthCheck):
    """A broker that is frozen freezes the probe."""

    async def probe(self) -> None:
        try:
            await super().probe()
        except BrokerError:
            await asyncio.Event().wait()


class SurelyNotSent(WrappedPublisher):
    """Says of what may have landed that it surely did not."""

    async def publish_message(
        self, queue: str, body: Body, *, message_id: str | None = None, headers: Mapping[str, Any] | None = None
    ) -> str:
        try:
            return await super().publish_message(queue, body, message_id=message_id, headers=headers)
        except PublishError as error:
            error.may_have_landed = False
            raise


class SendsAgain(WrappedPublisher):
    """Sends again by itself what may have landed."""

    async def publish_message(
        self, queue: str, body: Body, *, message_id: str | None = None, headers: Mapping[str, Any] | None = None
    ) -> str:
        try:
            return await super().publish_message(queue, body, message_id=message_id, headers=headers)
        except PublishError as error:
            if error.may_have_landed:
                await super().publish_message(queue, body, message_id=message_id, headers={"again": 1})
            raise


def without_size_check(provider: Provider) -> Provider:
    """A publisher that takes whatever it is given."""

    def publisher(name: str, config: Any, middleware: Any) -> QueuePublisher:
        return provider.publisher(name, config.model_copy(update={"max_message_bytes": 2**30}), middleware)

    return dataclasses.replace(provider, publisher=publisher)
