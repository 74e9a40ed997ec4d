"""`python -m tests.tools.with_broker COMMAND...`: run a command with RABBITMQ_URL set to a RabbitMQ that answers.

It is, in this order: the one that RABBITMQ_URL names; one on localhost:5672; a private node from an installed
rabbitmq-server, for as long as the command runs; and with INSTALL_RABBITMQ=1, as root on Debian, the same after
installing it. Where there is none, the command runs without: the tests that need a broker say so and are skipped, or
fail with REQUIRE_RABBITMQ=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.tools.rabbitmq_node import RabbitMQNode, find_server, speaks_amqp


def main(command: list[str]) -> int:
    """Run the command; its exit code is ours."""
    environment = dict(os.environ)
    if environment.get("RABBITMQ_URL"):
        _say("the one of RABBITMQ_URL")
        return subprocess.call(command, env=environment)
    if speaks_amqp("127.0.0.1", 5672):
        _say("the one on localhost:5672")
        return subprocess.call(command, env={**environment, "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:5672/"})
    if find_server() is None and environment.get("INSTALL_RABBITMQ") == "1":
        _install()
    if find_server() is None:
        if environment.get("REQUIRE_RABBITMQ") == "1":
            _say(
                "none. Set RABBITMQ_URL, or start one on localhost:5672, or install rabbitmq-server "
                "(as root on Debian, INSTALL_RABBITMQ=1 does it)"
            )
            return 1
        _say("none, so the tests that need one are skipped. RABBITMQ_URL, localhost:5672 or rabbitmq-server would do")
        return subprocess.call(command, env=environment)
    node = RabbitMQNode()
    try:
        node.start()
        _say(f"a private node on port {node.port}")
        return subprocess.call(command, env={**environment, "RABBITMQ_URL": node.url})
    finally:
        node.remove()


def _install() -> None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        _say("can't be installed here: that needs root on Debian")
        return
    _say("installing rabbitmq-server")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=True)
    subprocess.run(["apt-get", "install", "-y", "-qq", "rabbitmq-server"], env=quiet, check=True)


def _say(text: str) -> None:
    print(f"RabbitMQ for the tests: {text}.", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
