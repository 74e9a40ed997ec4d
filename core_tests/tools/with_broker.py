"""`python -m core_tests.tools.with_broker COMMAND...`: run a command with a broker of each kind.

Its URL is in `<PROVIDER>_URL`. It is, in this order: the one that its variable names; a private one, for as long as
the command runs, from the program that `<PROVIDER>_SERVER` names; one on this machine, on the usual port; a private one
from an installed server; and with INSTALL_BROKERS=1, as root on Debian, the same after installing it. Where there is
none, the command runs without: the tests that need it say so and are skipped, or fail with REQUIRE_BROKERS=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack

from core_tests.tools.broker_node import BrokerNode, kinds


def main(command: list[str]) -> int:
    """Run the command; its exit code is ours, or 1 if a broker is required and can't be had."""
    environment = dict(os.environ)
    with ExitStack() as nodes:
        for kind in kinds():
            url = _find(kind, nodes)
            if url is not None:
                environment[kind.variable()] = url
            elif environment.get("REQUIRE_BROKERS") == "1":
                return 1
        return subprocess.call(command, env=environment)


def _find(kind: type[BrokerNode], nodes: ExitStack) -> str | None:
    """The URL of a broker of this kind."""
    if given := os.environ.get(kind.variable()):
        _say(kind, f"the one of {kind.variable()}")
        return given
    if kind.named_server() is None and kind.answers(kind.default_port):
        _say(kind, f"the one on localhost:{kind.default_port}")
        return kind.url_of(kind.default_port)
    if kind.find_server() is None and os.environ.get("INSTALL_BROKERS") == "1":
        _install(kind)
    if kind.find_server() is None:
        _say(
            kind,
            f"none, so the tests that need one are skipped. {kind.variable()}, localhost:{kind.default_port} or "
            f"{kind.package} would do (as root on Debian, INSTALL_BROKERS=1 installs it)",
        )
        return None
    node = kind()
    nodes.callback(node.remove)
    node.start()
    _say(kind, f"a private one on port {node.port}")
    return node.url


def _install(kind: type[BrokerNode]) -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        _say(kind, "can't be installed here: that needs root on Debian")
        return
    _say(kind, f"installing {kind.package}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", kind.package], env=quiet, check=True)


def _say(kind: type[BrokerNode], text: str) -> None:
    print(f"{kind.title} for the tests: {text}.", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
