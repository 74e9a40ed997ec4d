"""A TCP proxy between the service and its broker, for what networks do: reset, refuse, freeze, forget."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Mode = Literal["pass", "refuse", "freeze", "silent", "mute"]
HOST = "127.0.0.1"
CHUNK = 65_536
ABORTIVE = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


class Proxy:
    """Listens on `port` and passes every connection on to port `target` of `host`. Runs in a thread of its own.

    `mode()` changes what happens from then on:

    - `pass`: bytes flow. After `freeze`, those that were held flow first.
    - `refuse`: all connections are reset, and new ones are refused.
    - `freeze`: nothing is read or written, in either direction; not even the end of a connection is passed on.
    - `silent`: the connections of that moment swallow everything for ever, as behind a NAT that forgot; new ones pass.
    - `mute`: the connections of that moment pass on what the service says, and no answer.

    `drop()` resets all connections, once.
    """

    def __init__(self, target: int, host: str = HOST) -> None:
        self._target = (host, target)
        self._links: set[_Link] = set()
        self._listener: socket.socket | None = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.mode("pass")

    def mode(self, mode: Mode) -> None:
        """Change what happens to connections, from now on."""
        self._run(lambda: self._change(mode))

    def drop(self) -> None:
        """Reset all connections."""
        self._run(self._reset_all)

    def close(self) -> None:
        """Reset all connections, and end."""
        self._run(self._stop_listening)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _run(self, function: Callable[[], object]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _change(self, mode: Mode) -> None:
        if mode == "freeze":
            self._flowing.clear()
        else:
            self._flowing.set()
        if mode == "silent":
            for link in self._links:
                link.silent = True
        if mode == "mute":
            for link in self._links:
                link.mute = True
        if mode == "refuse":
            self._stop_listening()
            self._reset_all()
        else:
            self._accept_again()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept_again(self) -> None:
        if self._listener is None:
            self._listener = _listen(self.port)
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            client, _ = listener.accept()
            client.setblocking(False)
            link = _Link(client)
            link.task = self._loop.create_task(self._serve(link))
            link.task.add_done_callback(link.close)
            self._links.add(link)

    def _reset_all(self) -> list[asyncio.Task[None]]:
        tasks = [link.task for link in self._links if link.task is not None]
        self._links.clear()
        for task in tasks:
            task.cancel()
        return tasks

    async def _end(self) -> None:
        await asyncio.gather(*self._reset_all(), return_exceptions=True)

    async def _serve(self, link: _Link) -> None:
        pumps: list[asyncio.Task[None]] = []
        try:
            await self._flowing.wait()
            await self._loop.sock_connect(link.broker, self._target)
            pumps = [
                asyncio.create_task(self._pump(link, link.client, link.broker)),
                asyncio.create_task(self._pump(link, link.broker, link.client)),
            ]
            await asyncio.gather(*pumps)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            for pump in pumps:
                pump.cancel()
            # A loop must not wait on a socket that is closed.
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        while True:
            data = await self._loop.sock_recv(source, CHUNK)
            await self._flowing.wait()
            if link.silent:
                if not data:
                    return  # the other side never hears of it
                continue
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            if not (link.mute and source is link.broker):
                await self._loop.sock_sendall(sink, data)


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.broker = socket.socket()
        self.broker.setblocking(False)
        self.silent = False
        self.mute = False
        self.task: asyncio.Task[None] | None = None

    def close(self, _: object) -> None:
        """End it by RST, on both sides."""
        for side in (self.client, self.broker):
            with suppress(OSError):
                side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTIVE)
            side.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    listener.listen(128)
    listener.setblocking(False)
    return listener
