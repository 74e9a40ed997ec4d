"""A private NATS with JetStream on a free port, from an installed `nats-server`."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path

from core_tests.tools.broker_node import BrokerNode


class NatsNode(BrokerNode):
    """One server with its streams in files, which survive `kill()`. With `lines`, it has more in its configuration."""

    title = "NATS"
    provider = "nats"
    package = "nats-server"
    servers = ("nats-server", "/usr/sbin/nats-server", "/opt/homebrew/bin/nats-server")
    default_port = 4222

    def __init__(self, lines: str = "") -> None:
        super().__init__()
        self.configure(lines)

    @classmethod
    def url_of(cls, port: int) -> str:
        return f"nats://127.0.0.1:{port}"

    @classmethod
    def answers(cls, port: int) -> bool:
        """True if it says that it has JetStream; one that demands a password or TLS says so, too."""
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.settimeout(5)
                word, _, info = connection.makefile("rb").readline().partition(b" ")
                return word == b"INFO" and bool(json.loads(info).get("jetstream"))
        except (OSError, ValueError):
            return False

    def configure(self, lines: str) -> None:
        """Write the configuration, for the next start: these lines, and what a private server needs."""
        ours = (
            'host: "127.0.0.1"',
            f"port: {self.port}",
            f'server_name: "node{self.port}"',
            f'jetstream {{ store_dir: "{self.home}", max_file_store: 1GB }}',
        )
        self._file.write_text("\n".join([*ours, lines, ""]))

    def command(self) -> Sequence[str]:
        return [self.server, "--config", str(self._file)]

    @property
    def _file(self) -> Path:
        return self.home / "nats.conf"


NODE = NatsNode
