"""A dead-letter queue whose stream is at its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.js import JetStreamContext

from core_tests.tools.example import queue_config
from core_tests.tools.full_place import KEYS, hold_and_let_go
from core_tests.tools.places import dlq_name

pytestmark = [pytest.mark.broker, pytest.mark.slow]


async def test_a_dlq_at_its_limit_holds_up_nothing_else(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    @asynccontextmanager
    async def at_its_limit() -> AsyncIterator[None]:
        config = (await jetstream.stream_info(dlq_name(queue_name))).config
        await jetstream.update_stream(config, max_bytes=1)
        try:
            yield
        finally:
            await jetstream.update_stream(config, max_bytes=-1)

    config = queue_config(queue_name, "nats", broker_url=nats_url, ack_wait=2, **KEYS)
    await hold_and_let_go(config, at_its_limit, "maximum bytes exceeded")
