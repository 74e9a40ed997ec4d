"""The HTTP client: cheap, so that it leaves the processor to what is measured."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Self

from benchmarks.process import VoidError

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_live(port: int, running: Callable[[], bool], timeout: float) -> None:
    """Return once GET /health/live is answered 200."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and running():
        try:
            with Probe(port) as probe:
                probe.get()
                return
        except OSError:
            time.sleep(0.01)
    raise VoidError("no answer on /health/live")


class Probe:
    """GET /health/live on one connection that stays open."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self) -> float:
        """Seconds until the answer. Raises OSError, and VoidError for one that isn't 200."""
        started = time.perf_counter()
        self._socket.sendall(f"GET /health/live HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        answer = b""
        while not _complete(answer):
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionResetError("closed")
            answer += received
        if not answer.startswith(b"HTTP/1.1 200"):
            raise VoidError(f"/health/live: {answer[:40]!r}")
        return time.perf_counter() - started


def post_all(port: int, path: str, bodies: list[bytes], connections: int) -> float:
    """POST all bodies over this many connections. Returns seconds; raises VoidError unless all are answered 202."""

    async def one(source: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: bench\r\nContent-Type: application/json\r\n"
        while source:
            body = source.pop()
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = b""
            while not _complete(answer):
                received = await reader.read(65536)
                if not received:
                    raise VoidError("the server closed the connection")
                answer += received
            if not answer.startswith(b"HTTP/1.1 202"):
                raise VoidError(f"{path}: {answer[:200]!r}")
        writer.close()

    async def main() -> float:
        source = list(bodies)
        started = time.perf_counter()
        await asyncio.gather(*(one(source) for _ in range(connections)))
        return time.perf_counter() - started

    return asyncio.run(main())


def _complete(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].partition(b":")[2])
