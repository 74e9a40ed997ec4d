# The template's: an update changes it. Which files are yours: README.md.
"""The keys of one queue: a stream for each place, and a sorted set for what waits for its next attempt."""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Iterator

from app.queue.broker.existing import Rule, judge, one_of
from app.queue.interfaces import Place
from app.queue.messages.message import places, undivided_name
from app.queue.providers.redis.client import RedisClient
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.errors import translated
from app.queue.providers.redis.scripts import ENSURE, GROUP, LOOK, Script

logger = logging.getLogger(__name__)

RULES = {
    "milliseconds to live": Rule("then it goes, with all that is in it", one_of(-1)),
    "entry passed over": Rule(f"group {GROUP!r} is behind it, and nobody has it in flight: it would never come"),
}
"""What a key may be that is there. One of another type is refused by the server's own answer, WRONGTYPE."""
DEAD_AFTER = 120.0
"""Seconds after which the name of a consumer that has nothing in flight, and asks for nothing, is forgotten."""


def streams(config: RedisQueueConfig) -> Iterator[str]:
    """The streams that consuming `config` needs. The sorted set is made by what is put there."""
    for place in places(enable_dlq=config.enable_dlq):
        if place is not Place.RETRY:
            yield undivided_name(config.name, place)


async def ensure_stream(client: RedisClient, stream: str) -> None:
    """Make the stream and its group, unless they are there and lose nothing. Raises BrokerError."""
    if await _found(client, stream, ENSURE):
        logger.info("stream %r, or its group, was not there, and has been made", stream)


async def check_delayed(client: RedisClient, queue: str) -> None:
    """Look at what waits for its retry: somebody may have a key of that name. Raises BrokerError."""
    await _found(client, undivided_name(queue, Place.RETRY), LOOK)


async def _found(client: RedisClient, name: str, script: Script) -> bool:
    with translated(f"key {name!r}"):
        made, expires, passed = await client.run(script, [name], [round(DEAD_AFTER * 1000)])
    found = {"milliseconds to live": expires, "entry passed over": bytes(passed).decode()}
    mend = f"`PERSIST {name}` keeps it; `XGROUP SETID {name} {GROUP} 0`, with all "
    mend += "instances stopped, brings what was passed over"
    judge(f"key {name!r}", found, {}, RULES, mend)
    return bool(made)


def consumer_name() -> str:
    """A new name in a group, of use to whoever looks at XINFO CONSUMERS."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
