"""The embedded provider: no server, so nothing outlives the process."""

from __future__ import annotations

from app.queue.config import QueueConfig
from app.queue.providers.memory.broker import broker
from core_tests.contract.claims import Candidate


def clean(_: str, config: QueueConfig) -> None:
    broker.clear()


NO_SERVER = "its messages live in the process of the service"
CANDIDATE = Candidate(
    provider="memory",
    clean=clean,
    reasons={
        "outlives_process": NO_SERVER,
        "outlives_broker": NO_SERVER,
        "says_blocked": "it has no limit",
        "drops_repeats": "it keeps whatever is published",
        "moves_in_one_step": "a crash leaves no message anywhere",
    },
)
