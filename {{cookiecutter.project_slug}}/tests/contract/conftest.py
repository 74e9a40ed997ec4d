"""Runs every test of the suite once for each provider, and prints a table of what the faults cost."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.contract.claims import Claims, all_claims
from tests.contract.figures import FIGURE
from tests.contract.subject import Subject
from tests.tools.broker_node import BrokerNode

Figure = Callable[[str, object], None]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(claims, id=claims.provider, marks=[pytest.mark.broker] if claims.node else [])
        for claims in all_claims()
    ],
)
def claims(request: pytest.FixtureRequest) -> Claims:
    """Each provider in turn."""
    found: Claims = request.param
    return found


@pytest.fixture
def url(claims: Claims) -> str:
    """The broker that `make test` has found or started; empty for a provider that has none."""
    if claims.node is None:
        return ""
    found = os.environ.get(claims.node.variable())
    if not found:
        _give_up(f"needs a broker: run the tests by `make test`, or set {claims.node.variable()}")
    return str(found)


@pytest.fixture
async def subject(claims: Claims, url: str) -> AsyncIterator[Subject]:
    """The provider, with a queue of the test's own."""
    subject = Subject(claims, url)
    try:
        yield subject
    finally:
        await subject.clean()


@pytest.fixture(scope="session")
def node(claims: Claims) -> Iterator[BrokerNode]:
    """A private server, which tests may kill."""
    if claims.node is None:
        pytest.skip(f"{claims.provider} has no server that could be killed")
    if claims.node.find_server() is None:
        _give_up(f"{claims.node.package} is not installed, and this kills a server of its own")
    node = claims.node()
    try:
        node.start()
        yield node
    finally:
        node.remove()


@pytest.fixture
async def private(claims: Claims, node: BrokerNode) -> AsyncIterator[Subject]:
    """The provider, with a queue of the test's own, at a private server that runs."""
    node.keep_running()
    subject = Subject(claims, node.url, node)
    try:
        yield subject
    finally:
        node.keep_running()
        await subject.clean()


@pytest.fixture
def figure(request: pytest.FixtureRequest, claims: Claims) -> Figure:
    """`figure(what, value)` puts a value into the provider's column of the table that ends the run."""

    def note(what: str, value: object) -> None:
        request.node.user_properties.append((FIGURE, (what, claims.provider, str(value))))

    return note


def _give_up(why: str) -> None:
    if os.environ.get("REQUIRE_BROKERS") == "1":
        pytest.fail(why)
    pytest.skip(why)
