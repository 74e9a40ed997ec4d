"""A private Redis on a free port, from an installed `redis-server`: every write is on disk before it is answered."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from core_tests.tools.broker_node import BrokerNode


class RedisNode(BrokerNode):
    """One server with an append-only file that is written at once, so that its data survive `kill()`.

    With `options`, it has more in its configuration, or other things.
    """

    title = "Redis"
    provider = "redis"
    package = "redis-server"
    servers = ("redis-server", "/opt/homebrew/bin/redis-server")
    default_port = 6379

    def __init__(self, options: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self.options = options or {}

    @classmethod
    def url_of(cls, port: int) -> str:
        return f"redis://127.0.0.1:{port}/0"

    @classmethod
    def answers(cls, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                connection.settimeout(5)
                connection.sendall(b"*1\r\n$4\r\nPING\r\n")
                return connection.recv(5) == b"+PONG"
        except OSError:
            return False

    def command(self) -> Sequence[str]:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self.home,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            **self.options,
        }
        return [self.server, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]


NODE = RedisNode
