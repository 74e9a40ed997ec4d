"""What a provider claims, and how the suite gets at its server."""

from __future__ import annotations

import dataclasses

import pytest

from app.queue.interfaces import Claims
from core_tests.contract.claims import Candidate, address, at
from core_tests.contract.subject import Subject
from core_tests.tools.broker_node import BrokerNode


class SomeNode(BrokerNode):
    """A kind of server with a usual port."""

    default_port = 6379


def test_a_claim_that_is_not_made_has_a_reason(candidate: Candidate) -> None:
    unclaimed = {field.name for field in dataclasses.fields(Claims) if not getattr(candidate.claims, field.name)}
    missing, needless = sorted(unclaimed - set(candidate.reasons)), sorted(set(candidate.reasons) - unclaimed)
    assert not missing, f"`claims` does not make these, so `reasons` of the Candidate has to say why: {missing}"
    assert not needless, f"`reasons` of the Candidate has these, which are no claims, or made in `claims`: {needless}"


def test_a_broker_that_can_say_that_it_is_full_can_be_filled(candidate: Candidate) -> None:
    if candidate.claims.says_blocked and candidate.node is not None:
        assert candidate.block is not None


def test_a_configuration_takes_another_broker_url(candidate: Candidate) -> None:
    if not candidate.has_address:
        pytest.skip(f"{candidate.provider} has no address")
    one, other = (f"{candidate.provider}-{name}.example" for name in ("one", "other"))
    config = Subject(candidate, one).config(broker_url=other)
    assert config.model_dump()["broker_url"] == other


@pytest.mark.parametrize(
    ("url", "host", "port", "behind"),
    [
        ("localhost", "localhost", 6379, "127.0.0.1:9"),
        ("redis://u:p@[::1]/3", "::1", 6379, "redis://u:p@127.0.0.1:9/3"),
        ("amqp://guest:guest@10.0.0.1:5672/", "10.0.0.1", 5672, "amqp://guest:guest@127.0.0.1:9/"),
        ("http://stand-in:4566/", "stand-in", 4566, "http://127.0.0.1:9/"),
    ],
)
def test_a_proxy_can_stand_before_any_address(url: str, host: str, port: int, behind: str) -> None:
    assert address(url, SomeNode) == (host, port)
    assert at(url, 9) == behind
