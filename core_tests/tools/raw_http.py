"""HTTP byte by byte, for what a well-behaved client would never send."""

from __future__ import annotations

import http.client
import json
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from core_tests.tools.process import Answer

HUNG = -1
"""The status of an answer that did not come in time; 0 is that of a connection that was closed without one."""


def exchange(port: int, pieces: Iterable[bytes | float], timeout: float = 60.0, *, cut: bool = False) -> Answer:
    """Send the pieces, a number being a pause in seconds, until there is an answer. `cut`: then send no more, ever."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        try:
            for piece in pieces:
                if _answered(connection, piece if isinstance(piece, float) else 0.0):
                    break
                if isinstance(piece, bytes):
                    connection.sendall(piece)
            if cut:
                connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection)
            response.begin()
            text = response.read()
        except TimeoutError:
            return Answer(HUNG, None, {}, time.monotonic() - began)
        except (OSError, http.client.HTTPException):
            return Answer(0, None, {}, time.monotonic() - began)
    content: Any = None
    with suppress(ValueError):
        content = json.loads(text)
    named = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, content, named, time.monotonic() - began)


def _answered(connection: socket.socket, within: float) -> bool:
    """True if there is more than a `100 Continue`."""
    readable = select.select([connection], [], [], within)[0]
    return bool(readable) and connection.recv(12, socket.MSG_PEEK) != b"HTTP/1.1 100"


def head(path: str, *lines: bytes, version: str = "1.1") -> bytes:
    """The head of a POST."""
    return b"\r\n".join([f"POST {path} HTTP/{version}".encode(), b"Host: x", *lines, b"", b""])


def chunk(data: bytes) -> bytes:
    """One chunk of a body in chunks; an empty one is the last."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
