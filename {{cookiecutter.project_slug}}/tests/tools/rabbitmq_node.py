"""A private RabbitMQ node on free ports, from an installed `rabbitmq-server`: to be used, killed and thrown away."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.tools.ports import free_port

START_TIMEOUT = 90.0
SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server", "rabbitmq-server")


class RabbitMQNode:
    """One node with its own data, Erlang cookie and port mapper. Guest may log in from this machine.

    With a `partner`, it has that node's cookie and port mapper, so that the two can be in one cluster.
    """

    def __init__(self, partner: RabbitMQNode | None = None) -> None:
        server = find_server()
        if server is None:
            raise RuntimeError("rabbitmq-server is not installed")
        self._server = server
        self._home = Path(tempfile.mkdtemp(prefix="rabbitmq-node-"))
        self.port = free_port()
        self.name = f"node{self.port}@localhost"
        self._environment: dict[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": partner._environment["HOME"] if partner else str(self._home),
            "ERL_EPMD_PORT": partner._environment["ERL_EPMD_PORT"] if partner else str(free_port()),
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # or its end is refused after a kill -9 of the node
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._home / "data"),
            "RABBITMQ_LOG_BASE": str(self._home / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._home / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._home / "rabbitmq"),
            "RABBITMQ_PID_FILE": str(self._home / "pid"),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The node's URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def running(self) -> bool:
        """True if the process is there."""
        return self._process is not None and self._process.poll() is None

    def configure(self, lines: str) -> None:
        """Write `rabbitmq.conf`, for the next start."""
        (self._home / "rabbitmq.conf").write_text(lines)

    def start(self) -> None:
        """Start the node, or start it again with its data. Returns when it accepts connections."""
        with (self._home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [self._server],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not speaks_amqp("127.0.0.1", self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                output_text = (self._home / "output").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the RabbitMQ node did not start:\n{output_text}")
            time.sleep(0.1)

    def keep_running(self) -> None:
        """Start the node if it was killed."""
        if not self.running:
            self.start()

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on the node, and return what it prints."""
        tool = str(Path(self._server).with_name("rabbitmqctl"))
        command = [tool if Path(tool).exists() else "rabbitmqctl", "-n", self.name, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    @contextmanager
    def memory_alarm(self) -> Iterator[None]:
        """Inside, the node believes that it is out of memory, and takes no messages."""
        try:
            self.ctl("set_vm_memory_high_watermark", "0.0001")
            yield
        finally:
            self.ctl("set_vm_memory_high_watermark", "0.4")

    def kill(self) -> None:
        """`kill -9`, for the node and all it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)
            self._process = None

    def remove(self) -> None:
        """Kill the node, and delete its data."""
        self.kill()
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["epmd", "-kill"], env=self._environment, capture_output=True, timeout=10, check=False)
        shutil.rmtree(self._home, ignore_errors=True)


def find_server() -> str | None:
    """The path of an installed rabbitmq-server; RABBITMQ_SERVER names another."""
    servers = (os.environ.get("RABBITMQ_SERVER"), *SERVERS)
    return next((found for server in servers if server and (found := shutil.which(server))), None)


def speaks_amqp(host: str, port: int) -> bool:
    """True if an AMQP broker answers there."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.settimeout(5)
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False
