"""The embedded provider: no server, so nothing outlives the process."""

from __future__ import annotations

from app.queue.config import QueueConfig
from app.queue.providers.memory.broker import broker
from tests.contract.claims import Claim, Claims


def clean(_: str, config: QueueConfig) -> None:
    broker.clear()


NO_SERVER = "its messages live in the process of the service"
CLAIMS = Claims(
    provider="memory",
    clean=clean,
    not_claimed={
        Claim.OUTLIVES_PROCESS: NO_SERVER,
        Claim.OUTLIVES_BROKER: NO_SERVER,
        Claim.SAYS_BLOCKED: "it has no limit",
    },
)
