"""NATS JetStream, on one server."""

from __future__ import annotations

from contextlib import AbstractContextManager

from app.queue.config import QueueConfig
from tests.contract.claims import Claims
from tests.tools.nats_node import NatsNode
from tests.tools.nats_streams import delete_streams, full


def clean(url: str, config: QueueConfig) -> None:
    delete_streams(url, config.name)


def block(node: NatsNode) -> AbstractContextManager[None]:
    return full(node.url)


CLAIMS = Claims(provider="nats", clean=clean, node=NatsNode, keys={"ack_wait": 2}, block=block)
