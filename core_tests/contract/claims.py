"""A provider that is put to the test: how the suite gets at a server of its kind, to clean, cut, block and kill.

`core_tests/contract/providers/<provider>.py` holds a `Candidate` named `CANDIDATE`. That module is all it takes to put
a provider to the test. What it claims is said once, in the `claims` of its `Provider`.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from app.queue.config import QueueConfig
from app.queue.interfaces import Claims
from app.queue.providers import find_provider
from core_tests.contract import providers
from core_tests.tools.broker_node import BrokerNode
from core_tests.tools.project import has_provider
from core_tests.tools.proxy import HOST


@dataclass(frozen=True)
class Candidate:
    """A provider under test.

    Attributes:
        provider: its `type` in `queues.yaml`. `<PROVIDER>_URL` in the environment is a server for most tests.
        clean: deletes a queue with all its places from the broker of that URL, if it is there; called in a thread.
        node: private servers, to be killed; None if there are none. A server's URL is the key `broker_url`.
        keys: more keys of its queues, for all tests: to make it give up a dead consumer soon, for example.
        hasty: more keys for the tests that freeze a link, so that its end is noticed within `lease` seconds.
        lease: seconds after which a message that a frozen consumer has in flight comes to another one, with `keys` and
            `hasty`. A handler may run for longer.
        block: inside, that private server accepts no messages.
        at_a_time: how many broken variants are tried side by side; 1 for a slow server.
        unharmed_by: for each variant of `broken/` that breaks nothing here, why.
        reasons: for each claim that is not made, why; to be read where a test is skipped.
    """

    provider: str
    clean: Callable[[str, QueueConfig], None]
    node: type[BrokerNode] | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    hasty: Mapping[str, Any] = field(default_factory=dict)
    lease: float = 2.0
    block: Callable[[Any], AbstractContextManager[None]] | None = None
    at_a_time: int = 4
    unharmed_by: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def claims(self) -> Claims:
        """What the provider says that it can."""
        return find_provider(self.provider).claims

    @property
    def has_address(self) -> bool:
        """True if there is a server, so that a proxy can stand before it. It may be none that a test can kill."""
        return "broker_url" in find_provider(self.provider).config.model_fields

    @property
    def variable(self) -> str:
        """The environment variable that names a server for the tests."""
        return f"{self.provider.upper()}_URL"

    def url(self) -> str:
        """The server that `make test` has found or started, or ""."""
        return os.environ.get(self.variable, "")


def address(url: str, node: type[BrokerNode] | None) -> tuple[str, int]:
    """The host and the port that a URL names; where it names none, the port is that of its kind."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    port = parts.port or (node.default_port if node else {"https": 443}.get(parts.scheme, 80))
    return parts.hostname or HOST, port


def at(url: str, port: int) -> str:
    """The same URL, at that port of this machine."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    user, found, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{found}{HOST}:{port}").geturl().removeprefix("//")


def all_candidates() -> list[Candidate]:
    """Every provider that this project has."""
    names = sorted(module.name for module in pkgutil.iter_modules(providers.__path__) if has_provider(module.name))
    return [importlib.import_module(f"{providers.__name__}.{name}").CANDIDATE for name in names]
