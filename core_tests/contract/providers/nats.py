"""NATS JetStream, on one server."""

from __future__ import annotations

from contextlib import AbstractContextManager

from app.queue.config import QueueConfig
from core_tests.contract.claims import Candidate
from core_tests.tools.nats_node import NatsNode
from core_tests.tools.nats_streams import delete_streams, full


def clean(url: str, config: QueueConfig) -> None:
    delete_streams(url, config.name)


def block(node: NatsNode) -> AbstractContextManager[None]:
    return full(node.url)


CANDIDATE = Candidate(
    provider="nats",
    clean=clean,
    node=NatsNode,
    keys={"ack_wait": 2},
    block=block,
    unharmed_by={"what may have landed is sent again": "the server drops what has the same id and the same body"},
    reasons={
        "knows_holder": "the server counts deliveries, and does not say to whom they went",
        "moves_in_one_step": "the publish and the ack are two requests",
    },
)
