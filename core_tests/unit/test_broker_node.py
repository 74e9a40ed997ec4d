"""Which server the tests run on: the one that a variable names, before any that is found."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from core_tests.tools import with_broker
from core_tests.tools.broker_node import BrokerNode


class Node(BrokerNode):
    """A kind of broker of which one is installed, and one runs on the usual port."""

    title = provider = package = "acme"
    servers = (sys.executable,)
    default_port = 4000

    @classmethod
    def url_of(cls, port: int) -> str:
        return f"acme://{port}"

    @classmethod
    def answers(cls, port: int) -> bool:
        return port == cls.default_port

    def command(self) -> list[str]:
        return [self.server]

    def start(self) -> None:
        """Nothing is to be started."""


@pytest.fixture
def unpacked(tmp_path: Path) -> str:
    """Another server, of a release that is unpacked somewhere."""
    server = tmp_path / "acme-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    return str(server)


@pytest.fixture
def nodes() -> ExitStack:
    """Where what is started is removed."""
    return ExitStack()


def test_an_installed_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_SERVER", raising=False)
    assert Node.find_server() == sys.executable


def test_a_variable_names_another_one(monkeypatch: pytest.MonkeyPatch, unpacked: str) -> None:
    monkeypatch.setenv("ACME_SERVER", unpacked)
    assert Node.find_server() == unpacked


def test_one_that_is_named_and_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_SERVER", "/nowhere/acme-server")
    with pytest.raises(RuntimeError, match="ACME_SERVER is '/nowhere/acme-server', and no program is there"):
        Node.find_server()


def test_the_tests_run_on_the_server_that_is_named_and_not_on_one_that_runs(
    monkeypatch: pytest.MonkeyPatch, unpacked: str, nodes: ExitStack
) -> None:
    for name in ("ACME_URL", "ACME_SERVER"):
        monkeypatch.delenv(name, raising=False)
    with nodes:
        assert with_broker._find(Node, nodes) == "acme://4000"
        monkeypatch.setenv("ACME_SERVER", unpacked)
        assert with_broker._find(Node, nodes) not in (None, "acme://4000")
        monkeypatch.setenv("ACME_URL", "acme://elsewhere")
        assert with_broker._find(Node, nodes) == "acme://elsewhere"
