"""What lies in the quarantine's place of before the first release is run, once. To be dropped with the next one."""

from __future__ import annotations

import pydantic_core
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from app.queue.interfaces import Place
from app.queue.messages.message import place_name
from app.queue.providers.nats.config import NatsQueueConfig
from app.queue.providers.nats.streams import consumer_config, stream_config
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker


async def test_what_an_older_version_left_is_run_and_where_nothing_is_left_nothing_is_made(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    old = place_name(queue_name, Place.OLD_QUARANTINE)
    config, handler = queue_config(queue_name, "nats", broker_url=nats_url), UserHandler()
    assert isinstance(config, NatsQueueConfig)
    async with running((config, handler)):
        pass
    with pytest.raises(NotFoundError):
        await jetstream.stream_info(old)
    await jetstream.add_stream(stream_config(config, old))
    await jetstream.add_consumer(old, consumer_config(config))
    headers = {"message-id": "one", "queue-headers": '{"queue-crashes": 1}'}
    await jetstream.publish(old, pydantic_core.to_json(audio()), headers=headers)
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert (await jetstream.stream_info(old)).state.messages == 0
    assert handler.attempts == [("one", 1)]
