"""What a provider claims, and how the suite gets at a server of its kind.

`tests/contract/providers/<provider>.py` holds a `Claims` named `CLAIMS`. That module is all it takes to put a provider
to the test. Every claim counts as made, unless it is named with the reason why it isn't.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.queue.config import QueueConfig
from tests.contract import providers
from tests.tools.broker_node import BrokerNode


class Claim(StrEnum):
    """What a provider may or may not be able to do. All else in the suite is asked of every provider."""

    ORDER = "one publisher's messages come in order to one consumer, while nothing fails"
    OUTLIVES_PROCESS = "messages outlive the process of the service"
    OUTLIVES_BROKER = "messages outlive a kill -9 of the broker, and so do their delays"
    SAYS_BLOCKED = "the broker can say that it accepts no messages for now"


@dataclass(frozen=True)
class Claims:
    """A provider under test.

    Attributes:
        provider: its `type` in `queues.yaml`.
        node: private servers, to be killed; None if there is no server. A server's URL is the key `broker_url`.
        keys: more keys of its queues, for all tests: to make it give up a dead consumer soon, for example.
        clean: deletes a queue with all its places from the broker of that URL, if it is there; called in a thread.
        block: inside, that private server accepts no messages.
        not_claimed: the claims that are not made, each with the reason.
    """

    provider: str
    clean: Callable[[str, QueueConfig], None]
    node: type[BrokerNode] | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    block: Callable[[Any], AbstractContextManager[None]] | None = None
    not_claimed: Mapping[Claim, str] = field(default_factory=dict)


def all_claims() -> list[Claims]:
    """Those of every provider that this project has."""
    names = sorted(module.name for module in pkgutil.iter_modules(providers.__path__))
    return [importlib.import_module(f"{providers.__name__}.{name}").CLAIMS for name in names]
