# The template's: an update changes it. Which files are yours: README.md.
"""RedisPublisher: adds to a stream that is there, over the connection of the loop."""

from __future__ import annotations

import logging

import redis.exceptions as redis

from app.queue.broker.errors import unconfirmed
from app.queue.broker.linked_publisher import LinkedPublisher
from app.queue.errors import BrokerUnavailableError, UnroutableError
from app.queue.interfaces import Message
from app.queue.providers.redis.connection import MasterConnection, RedisConnectionManager
from app.queue.providers.redis.errors import AWAY, broker_error, code, publish_error
from app.queue.providers.redis.messages import to_fields
from app.queue.providers.redis.streams import ensure_stream

logger = logging.getLogger(__name__)


class RedisPublisher(LinkedPublisher[MasterConnection]):
    """A queue's name is its key."""

    pool = RedisConnectionManager

    async def ensure(self) -> None:
        await ensure_stream(self.link.connection, self.queue_name)

    async def put(self, queue: str, message: Message) -> None:
        call = self.link.connection.call
        try:
            entry = await call("XADD", queue, "NOMKSTREAM", "*", *to_fields(message), timeout=None)
        except BrokerUnavailableError as error:
            raise unconfirmed(error) from error
        except redis.ResponseError as error:
            what = f"stream {queue!r}"
            raise (broker_error if code(error) in AWAY else publish_error)(error, what) from error
        if entry is None:
            raise UnroutableError(f"the server has no stream {queue!r}; the message went nowhere")

    async def put_anew(self, queue: str, message: Message) -> None:
        logger.warning("stream %r is not there any more, and is made again: was it deleted?", queue)
        await super().put_anew(queue, message)
