"""A private RabbitMQ node on free ports, from an installed `rabbitmq-server`: to be used, killed and thrown away.

`RABBITMQ_SERVER=/opt/rabbitmq_server-4.0.5/sbin/rabbitmq-server` names another one, such as that of a release that is
unpacked somewhere. `rabbitmqctl` is then the one beside it.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from core_tests.tools.broker_node import BrokerNode
from core_tests.tools.ports import free_port


class RabbitMQNode(BrokerNode):
    """One node with its own data, Erlang cookie and port mapper. Guest may log in from this machine.

    With a `partner`, it has that node's cookie and port mapper, so that the two can be in one cluster.
    """

    title = "RabbitMQ"
    provider = "rabbitmq"
    package = "rabbitmq-server"
    servers = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server", "rabbitmq-server")
    default_port = 5672

    def __init__(self, partner: RabbitMQNode | None = None) -> None:
        super().__init__()
        self.name = f"node{self.port}@localhost"
        self._environment: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": partner._environment["HOME"] if partner else str(self.home),
            "ERL_EPMD_PORT": partner._environment["ERL_EPMD_PORT"] if partner else str(free_port()),
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # or its end is refused after a kill -9 of the node
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbitmq"),
            "RABBITMQ_PID_FILE": str(self.home / "pid"),
        }

    @classmethod
    def url_of(cls, port: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{port}/"

    @classmethod
    def answers(cls, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.settimeout(5)
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    @classmethod
    def version(cls) -> str:
        """The version of the server that the nodes are started from, such as `3.10.8`; "unknown" if it says none."""
        with suppress(OSError, subprocess.SubprocessError):
            asking = [cls._tool(cls.find_server() or ""), "version"]
            return subprocess.run(asking, capture_output=True, text=True, timeout=60, check=True).stdout.split()[-1]
        return "unknown"

    def command(self) -> Sequence[str]:
        return [self.server]

    def environment(self) -> dict[str, str]:
        return self._environment

    def configure(self, lines: str) -> None:
        """Write `rabbitmq.conf`, for the next start."""
        (self.home / "rabbitmq.conf").write_text(lines)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on the node, and return what it prints."""
        command = [self._tool(self.server), "-n", self.name, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    @staticmethod
    def _tool(server: str) -> str:
        """The rabbitmqctl that belongs to the server."""
        beside = Path(server).with_name("rabbitmqctl")
        return str(beside) if beside.exists() else "rabbitmqctl"

    @contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """Inside, the node believes that it is out of memory, and takes no messages."""
        try:
            self.ctl("set_vm_memory_high_watermark", "0.0001")
            yield
        finally:
            self.ctl("set_vm_memory_high_watermark", "0.4")

    @contextmanager
    def consumer_timeout(self, seconds: float) -> Iterator[None]:
        """Inside, a channel that is opened is closed when a delivery was not acked for so long, within a second."""
        try:
            self._set("consumer_timeout", round(seconds * 1000))
            self._set("channel_tick_interval", 1000)
            yield
        finally:
            self._set("consumer_timeout", 1_800_000)
            self._set("channel_tick_interval", 60_000)

    def _set(self, name: str, value: int) -> None:
        self.ctl("eval", f"application:set_env(rabbit, {name}, {value}).")

    def remove(self) -> None:
        self.kill()
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, timeout=10, check=False)
        super().remove()


NODE = RabbitMQNode
