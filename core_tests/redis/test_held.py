"""A dead-letter queue that is a key of another type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from core_tests.tools.example import queue_config
from core_tests.tools.full_place import KEYS, hold_and_let_go
from core_tests.tools.places import dlq_name

pytestmark = [pytest.mark.broker, pytest.mark.slow]


async def test_a_dlq_that_is_a_key_of_another_type_holds_up_nothing_else(
    redis_url: str, queue_name: str, client: Any
) -> None:
    dlq = dlq_name(queue_name)

    @asynccontextmanager
    async def another_type() -> AsyncIterator[None]:
        await client.rename(dlq, f"{dlq}.kept")
        await client.set(dlq, "text")
        try:
            yield
        finally:
            # In one step: what a try puts into a stream that is there for a moment only would be lost with it.
            await client.rename(f"{dlq}.kept", dlq)

    config = queue_config(queue_name, "redis", broker_url=redis_url, ack_wait=2, **KEYS)
    await hold_and_let_go(config, another_type, "of another type")
