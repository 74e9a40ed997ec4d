"""Runs every test of the suite once for each provider, and prints a table of what the faults cost."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from core_tests.contract.claims import Candidate, all_candidates
from core_tests.contract.figures import FIGURE
from core_tests.contract.subject import Subject
from core_tests.tools.broker_node import BrokerNode

Figure = Callable[[str, object], None]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(candidate, id=candidate.provider, marks=[pytest.mark.broker] if candidate.has_address else [])
        for candidate in all_candidates()
    ],
)
def candidate(request: pytest.FixtureRequest) -> Candidate:
    """Each provider in turn."""
    found: Candidate = request.param
    return found


@pytest.fixture
def url(candidate: Candidate) -> str:
    """The broker that `make test` has found or started; empty for a provider that has none."""
    if candidate.has_address and not candidate.url():
        _give_up(f"needs a broker: run the tests by `make test`, or set {candidate.variable}")
    return candidate.url() if candidate.has_address else ""


@pytest.fixture
async def subject(candidate: Candidate, url: str) -> AsyncIterator[Subject]:
    """The provider, with a queue of the test's own."""
    subject = Subject(candidate, url)
    try:
        yield subject
    finally:
        await subject.clean()


@pytest.fixture(scope="session")
def node(candidate: Candidate) -> Iterator[BrokerNode]:
    """A private server, which tests may kill."""
    if candidate.node is None:
        pytest.skip(f"{candidate.provider} has no server that could be killed")
    if not candidate.node.servers:
        pytest.skip(f"no machine can start a server of {candidate.provider}")
    if candidate.node.find_server() is None:
        _give_up(f"{candidate.node.package} is not installed, and this kills a server of its own")
    node = candidate.node()
    try:
        node.start()
        yield node
    finally:
        node.remove()


@pytest.fixture
async def private(candidate: Candidate, node: BrokerNode) -> AsyncIterator[Subject]:
    """The provider, with a queue of the test's own, at a private server that runs."""
    node.keep_running()
    subject = Subject(candidate, node.url, node)
    try:
        yield subject
    finally:
        node.keep_running()
        await subject.clean()


@pytest.fixture
def figure(request: pytest.FixtureRequest, candidate: Candidate) -> Figure:
    """`figure(what, value)` puts a value into the provider's column of the table that ends the run."""

    def note(what: str, value: object) -> None:
        request.node.user_properties.append((FIGURE, (what, candidate.provider, str(value))))

    return note


def _give_up(why: str) -> None:
    if os.environ.get("REQUIRE_BROKERS") == "1":
        pytest.fail(why)
    pytest.skip(why)
